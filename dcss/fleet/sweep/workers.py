"""The workers of a sweep: this machine, so many processes of Dask on it, or the workers of a scheduler."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from dcss.errors import DcssError, LaunchError
from dcss.fleet.dask_hosts import open_hosts
from dcss.fleet.facts import ask_facts
from dcss.fleet.hosts import HostAnswer, Hosts, Task
from dcss.fleet.local_cluster import start_processes
from dcss.progress import Progress

OWN_NAME: Final = "local"


class OwnHost:
    """This machine alone: tasks run in this process, and no other library is needed."""

    names = (OWN_NAME,)

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        """Run a task here."""
        return dict(self.feed(task, {name: iter([given]) for name, given in arguments.items()}))

    def feed(self, task: Task, orders: Mapping[str, Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, HostAnswer]]:
        """Run a task here with one order after the other."""
        (given,) = orders.values()
        try:
            for arguments in given:
                yield OWN_NAME, HostAnswer(task(None, *arguments))
        except (DcssError, OSError) as error:
            yield OWN_NAME, HostAnswer(None, str(error))

    def call_beside(self, task: Task, *arguments: object) -> None:
        """Run a task here."""
        task(*arguments)

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """How many configurations may run at once on a worker, and on its host, whichever workers that has."""

    at_once: int
    host_at_once: int


class Workers:
    """The workers that have this version; each runs `at_once` configurations at the same time."""

    def __init__(self, hosts: Hosts, at_once: int, progress: Progress) -> None:
        self.hosts = hosts
        self._at_once = at_once
        self._progress = progress
        self._nodes: dict[str, str] = {}
        self._there: Sequence[str] = ()
        self._refused: set[str] = set()
        self._meet(hosts.names)

    def look(self) -> Sequence[str]:
        """Return the workers that can be asked now; those that came since are asked for their version first.

        One of another version is left out, with a warning.
        """
        names = self.hosts.names
        for name in set(names) - set(self._nodes) - self._refused:
            try:
                self._meet([name])
            except LaunchError as error:
                self._refused.add(name)
                self._progress.warn(str(error))
        self._there = [name for name in names if name in self._nodes]
        return self._there

    def place(self, name: str) -> WorkerPlace:
        """Return how many configurations run at once where a worker is."""
        same = sum(self._nodes[other] == self._nodes[name] for other in {*self._there, name})
        return WorkerPlace(self._at_once, self._at_once * same)

    def node(self, name: str) -> str:
        """Return the machine that a worker is on."""
        return self._nodes[name]

    def _meet(self, names: Sequence[str]) -> None:
        self._nodes |= {name: str(facts["node"]) for name, facts in ask_facts(self.hosts, names).items()}


def open_workers(
    scheduler: str | None, processes: int | None, at_once: int, *, trusted: bool, stack: ExitStack, progress: Progress
) -> Workers:
    """Return the workers of a scheduler, so many processes of a local cluster, or this machine.

    `stack` closes them. Raises ConfigError, LaunchError.
    """
    if processes is not None:
        scheduler = start_processes(processes, at_once, stack)
    hosts: Hosts = OwnHost()
    if scheduler is not None:
        hosts = open_hosts(scheduler, (), trusted=trusted, stack=stack)
    return Workers(hosts, at_once, progress)

"""How tasks reach hosts: each host runs a function of dcss.fleet.tasks by its name, with plain data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from dcss.host.paths import private_directory, state_directory

Task = Callable[..., Any]
_PLAIN: Final = frozenset({bool, int, float, str, bytes})


class HostAnswer(NamedTuple):
    """What a task returned on a host, or why it could not be asked."""

    value: Any
    error: str | None = None


class Hosts(Protocol):
    """Hosts that run tasks."""

    @property
    def names(self) -> Sequence[str]:
        """The hosts that can be asked."""

    def call(self, task: Task, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, HostAnswer]:
        """Run a task once on each of these hosts, at the same time, with the host's arguments."""

    def feed(self, task: Task, orders: Mapping[str, Iterator[tuple[Any, ...]]]) -> Iterator[tuple[str, HostAnswer]]:
        """Run a task on each host with one order of its own after the other, and yield each answer with its host.

        No host waits for another. Orders are taken when the host is about to have use for them; one that fails is its
        host's last.
        """

    def call_beside(self, task: Task, *arguments: object) -> None:
        """Run a task on every host at once, whatever it is doing; hosts that cannot be asked are passed over."""

    def close(self) -> None:
        """Let go of the hosts; what runs there stays."""


def is_plain(value: object) -> bool:
    """Return True for what tasks answer with: numbers, text, lists of such, and mappings by text."""
    match value:
        case list() | tuple():
            return all(map(is_plain, value))
        case dict():
            return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
        case _:
            return value is None or type(value) in _PLAIN


def local_root() -> Path:
    """Return where stand-ins and the records of fleets are."""
    return private_directory(state_directory() / ".fleet")

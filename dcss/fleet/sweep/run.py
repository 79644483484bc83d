"""Run the configurations of a sweep on its workers, and yield a row for each when it is found."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from secrets import token_hex
from threading import Event, Thread
from typing import Any, Final

from dcss.config.load_sweep import Configuration, SweepPlan
from dcss.documents import JsonObject, from_document
from dcss.errors import LaunchError
from dcss.fleet.host_yaml import dump_yaml, portable_system
from dcss.fleet.hosts import HostAnswer
from dcss.fleet.scratch import scratch_directory
from dcss.fleet.sweep import task
from dcss.fleet.sweep.children import stop_children
from dcss.fleet.sweep.images import SweepImages
from dcss.fleet.sweep.results import KernelFigures, RunFigures, SweepRow, row_of
from dcss.fleet.sweep.workers import Workers
from dcss.version import VERSION

_LOOK_SECONDS: Final = 1.0
_END_SECONDS: Final = 0.1
_MAX_LOSSES: Final = 3  # a configuration that takes its worker with it so often is not tried again
_NAME_CHARACTERS: Final = 13  # of the sweep's, in the names of its systems
_DIGEST_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True)
class _Try:
    configuration: Configuration
    attempts: int = 1
    losses: int = 0


class SweepRun:
    """One run of a sweep: the configurations that have no row yet, on these workers."""

    def __init__(
        self,
        plan: SweepPlan,
        configurations: Sequence[Configuration],
        workers: Workers,
    ) -> None:
        self._plan = plan
        self._workers = workers
        self._todo = deque(map(_Try, configurations))
        self._unfinished = len(configurations)
        self._answers: SimpleQueue[tuple[_Try, str, HostAnswer]] = SimpleQueue()
        self._run = token_hex(8)
        self._scratch = ExitStack()
        scratch = self._scratch.enter_context(scratch_directory())
        self._systems = {
            each.digest: portable_system(each.data, plan.directory) for each in configurations if plan.command == "run"
        }
        self._images = SweepImages(scratch, self._run, self._systems.values(), workers.hosts)
        self._stopping = Event()
        self._threads: dict[tuple[str, int], Thread] = {}

    def rows(self) -> Iterator[JsonObject]:
        """Yield rows in the order in which they are found; closing the iterator ends what runs.

        Raises LaunchError where no worker is left.
        """
        try:
            while self._unfinished:
                self._begin()
                try:
                    tried, worker, answer = self._answers.get(timeout=_LOOK_SECONDS)
                except Empty:
                    continue
                row = self._judge(tried, worker, answer)
                if row is not None:
                    self._unfinished -= 1
                    if tried.configuration.digest in self._systems:
                        self._images.release(self._systems[tried.configuration.digest])
                    yield row
        finally:
            self._stop()

    def _begin(self) -> None:
        """Start a thread for each configuration that may run at once, where there is none and something is to do."""
        self._threads = {place: thread for place, thread in self._threads.items() if thread.is_alive()}
        if not self._todo:
            return
        names = self._workers.look()
        if not names and not self._threads:
            left = f"{self._unfinished} configurations are left"
            raise LaunchError(f"sweep {self._plan.name}: no worker is left, {left}: start workers, and the sweep again")
        for name in names:
            for number in range(self._workers.place(name).at_once):
                if (name, number) not in self._threads:
                    thread = Thread(target=self._work, args=(name,), daemon=True)
                    self._threads[name, number] = thread
                    thread.start()

    def _work(self, worker: str) -> None:
        """Run one configuration after the other, as long as there are any."""
        while not self._stopping.is_set():
            try:
                tried = self._todo.popleft()
            except IndexError:
                return
            try:
                given = self._arguments(tried.configuration, worker)
                answer = self._workers.hosts.call(task.run_configuration, {worker: given})[worker]
            except Exception as error:  # it goes into the row, or ends the sweep
                answer = HostAnswer(None, str(error) or type(error).__name__)
            self._answers.put((tried, worker, answer))
            if answer.error is not None:
                return

    def _arguments(self, configuration: Configuration, worker: str) -> tuple[Any, ...]:
        plan = self._plan
        words, yaml = ["kernel-test"], None
        images: list[str] = []
        if plan.command == "run":
            words = ["run"]
            name = f"{plan.name[:_NAME_CHARACTERS]}-{configuration.digest[:_DIGEST_CHARACTERS]}-{token_hex(2)}"
            own = self._systems[configuration.digest]
            system, images = self._images.give(own, worker, self._workers.node(worker))
            yaml = dump_yaml({**system, "system": name})
        else:
            words.append(configuration.data["kernel"])
            if "check" in configuration.data:
                words += ["--check", configuration.data["check"]]
        order = {
            "worker": worker,
            "slots": self._workers.place(worker).at_once,
            "words": words,
            "yaml": yaml,
            "images": images,
            "time_limit_seconds": plan.time_limit_seconds,
        }
        return self._run, order

    def _judge(self, tried: _Try, worker: str, answer: HostAnswer) -> JsonObject | None:
        """Return the row of a try, or None where it is tried again."""
        if answer.error is not None:
            again = replace(tried, attempts=tried.attempts + 1, losses=tried.losses + 1)
            retried = again.losses < _MAX_LOSSES
        else:
            again = replace(tried, attempts=tried.attempts + 1)
            # Status 2 says that the configuration is wrong: it stays wrong.
            good = answer.value["outcome"] == "done" or answer.value["exit_status"] == 2
            retried = not good and tried.attempts - tried.losses <= self._plan.retries
        if retried:
            self._todo.append(again)
            return None
        return self._row(tried, worker, answer)

    def _row(self, tried: _Try, worker: str, answer: HostAnswer) -> JsonObject:
        value = answer.value or {"outcome": "lost", "exit_status": None, "error": answer.error, "dcss": VERSION}
        kind: type[RunFigures | KernelFigures] = RunFigures if self._plan.command == "run" else KernelFigures
        configuration, place = tried.configuration, self._workers.place(worker)
        row = SweepRow(
            sweep=self._plan.name,
            command=self._plan.command,
            digest=configuration.digest,
            number=configuration.number,
            repeat=configuration.repeat,
            outcome=value["outcome"],
            exit_status=value["exit_status"],
            attempts=tried.attempts,
            error=value["error"],
            time=value.get("time", ""),
            seconds=value.get("seconds"),
            waited_seconds=value.get("waited_seconds"),
            worker=worker,
            host=value.get("host"),
            at_once=place.at_once,
            host_at_once=place.host_at_once,
            host_kernel=value.get("host_kernel"),
            dcss=value["dcss"],
        )
        figures = from_document(kind, value.get("figures", {}))
        return row_of(row, dict(configuration.keys), figures)

    def _stop(self) -> None:
        """End what runs, and wait until it has."""
        self._stopping.set()
        for thread in self._threads.values():
            thread.join(_END_SECONDS)
            while thread.is_alive():
                # Again and again: a thread may just have been about to begin, and an image is built here.
                stop_children(self._run)
                self._workers.hosts.call_beside(task.stop_configurations, self._run)
                thread.join(_END_SECONDS)
        self._scratch.close()

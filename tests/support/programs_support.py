"""Programs without a CPU: each is a Python generator, which yields whenever it would wait."""

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from errno import EACCES, EAGAIN, ENOENT

from dcss.errors import KernelError
from vmguest.fs.open import FileDescription
from vmguest.s390x.programs import Command
from vmguest.terminal import Terminal

Body = Callable[["FakeProcess"], Iterator[None]]


class FakeProcess:
    """A program that runs; `heard` are the signals that reached it."""

    def __init__(
        self, pid: int, command: Command, files: Sequence[FileDescription], trace: Callable[[bytes], None] | None
    ) -> None:
        self.pid, self.command, self.files, self.trace = pid, command, files, trace
        self.exit_status: int | None = None
        self.ended_by: int | None = None
        self.heard: list[int] = []

    def read(self, size_bytes: int = 65536) -> bytes | None:
        """Return what standard input has, empty at its end; None where it has nothing yet."""
        buffer = memoryview(bytearray(size_bytes))
        try:
            return bytes(buffer[: self.files[0].read(buffer)])
        except KernelError as error:
            if error.errno != EAGAIN:
                raise
            return None

    def write(self, data: bytes, number: int = 1) -> Iterator[None]:
        """Write all of it, as soon as there is room."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.files[number].write(view[:65536]) :]
            except KernelError as error:
                if error.errno != EAGAIN:
                    raise
                yield

    def end(self, status: int, ended_by: int | None = None) -> None:
        """End, and close the files."""
        if self.exit_status is None:
            self.exit_status, self.ended_by = status, ended_by
            for file in self.files:
                file.close()


class FakePrograms:
    """Stands for vmguest.s390x.programs.Programs. `bodies` are the programs, by their word."""

    def __init__(self, bodies: Mapping[bytes, Body]) -> None:
        self._bodies = bodies
        self._running: dict[FakeProcess, Iterator[None]] = {}
        self.started: list[FakeProcess] = []
        self.signalled: list[tuple[int, int]] = []
        self.removed: list[Terminal] = []

    def start(
        self,
        command: Command,
        files: Sequence[FileDescription],
        *,
        terminal: Terminal | None = None,
        trace: Callable[[bytes], None] | None = None,
    ) -> FakeProcess:
        word = command.words[0]
        if word == b"unreadable":
            raise KernelError(EACCES, "Permission denied")
        if word not in self._bodies:
            raise KernelError(ENOENT, "No such file or directory")
        process = FakeProcess(100 + len(self.started), command, files, trace)
        self.started.append(process)
        self._running[process] = self._bodies[word](process)
        return process

    def run(self, until: Callable[[], bool], host_events: Mapping[int, Callable[[], None]] = {}) -> None:
        while not until():
            for process, body in list(self._running.items()):
                if process.exit_status is not None:
                    del self._running[process]
                    continue
                try:
                    next(body)
                except StopIteration as end:
                    process.end(end.value or 0)
            poll = select.poll()
            for descriptor in host_events:
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll(1 if self._running else None) if host_events else ():
                host_events[descriptor]()

    def signal(self, process: FakeProcess, number: int) -> None:
        process.heard.append(number)

    def signal_group(self, group: int, number: int) -> None:
        self.signalled.append((group, number))

    def remove_terminal(self, terminal: Terminal) -> None:
        self.removed.append(terminal)

    def end(self, process: FakeProcess) -> None:
        process.end(137, 9)

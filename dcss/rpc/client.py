"""A command's end of the control socket: which systems run, and one request to one of them."""

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, Self

from dcss.errors import ConfigError, LaunchError
from dcss.host.paths import check_system_name, runtime_directory
from dcss.host.process import is_overdue
from dcss.rpc.address import connected, peer_of
from dcss.rpc.area_files import has_area
from dcss.rpc.protocol import LINE_END, Arguments, ControlRequest, Output, Taken, read_answer
from dcss.rpc.watch import LOOK_SECONDS, SILENT_SECONDS, AnswerWatch, EndedError, NotAnsweringError
from dcss.suggest import suggestion

DOWN_SECONDS = 300.0  # for so long a system may take to go down
_ENDING_SECONDS = 10.0  # for so long a process that was killed may take to give back its memory
_READ_BYTES = 1 << 16
_CONNECT_SECONDS = 0.05  # between attempts while the queue of clients is full


class Life(Enum):
    """What is behind a system's runtime directory."""

    UP = "up"
    STARTING = "starting"  # its CP lives, and has no socket yet
    DEAD = "dead"  # its CP was killed; the next start removes what it left


@dataclass(frozen=True, slots=True)
class FoundSystem:
    """A system that this user has a runtime directory of; `pid` is its CP's, None if it is not known."""

    name: str
    life: Life
    pid: int | None
    directory: Path


def find_systems() -> list[FoundSystem]:
    """Return the systems of this user that run or left something behind, by name. One that is UP may not answer."""
    found = []
    for directory in sorted(runtime_directory().iterdir()):
        try:
            check_system_name(directory.name)
        except ValueError:
            continue
        if directory.is_dir():
            found.append(FoundSystem(directory.name, _life(directory), _pid_in(directory), directory))
    return found


def _life(directory: Path) -> Life:
    if _is_locked(directory) and has_area(directory.name, _pid_in(directory)):
        return Life.UP  # it has taken clients since before it announced its area, and is not bothered
    try:
        connected(directory).close()
    except BlockingIOError:
        return Life.UP  # it listens, and has too many clients
    except FileNotFoundError:
        return Life.STARTING if _is_locked(directory) else Life.DEAD
    except OSError:
        return Life.DEAD
    return Life.UP


def _is_locked(directory: Path) -> bool:
    """Return True if a CP holds the directory's lock, without trying to take it from a CP that starts just now."""
    try:
        end = f":{directory.stat().st_ino}"
        locks = Path("/proc/locks").read_text("ascii").splitlines()
    except FileNotFoundError:
        return False
    return any(" FLOCK " in lock and lock.split()[-3].endswith(end) for lock in locks)


def _pid_in(directory: Path) -> int | None:
    try:
        return int((directory / "pid").read_text("ascii"))
    except (OSError, ValueError):
        return None


class Speaker(Protocol):
    """What a client says to its program while it waits for the answer: lines of dcss.rpc.protocol."""

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that have something to say when they can be read."""
        ...

    def read(self, descriptor: int) -> bytes:
        """Read one of them; return what is to be sent."""
        ...

    def taken(self, size_bytes: int) -> None:
        """Note that the program has read so many bytes of its standard input."""
        ...


class Client:
    """A connection to the CP of `system`, for one request.

    Raises ConfigError: it does not run; EndedError: it is dead; LaunchError; NotAnsweringError.
    """

    def __init__(self, system: str) -> None:
        self.system = system
        try:
            directory = runtime_directory() / check_system_name(system)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        try:
            self._socket = _connect(system, directory)
        except FileNotFoundError:
            running = [found.name for found in find_systems() if found.life is Life.UP]
            wanted = _one_of(running) + suggestion(system, running)
            raise ConfigError(f"system {system}: found none of that name that runs, wanted {wanted}") from None
        except ConnectionRefusedError:
            raise EndedError(
                f"system {system}: its CP (process {_pid_in(directory) or 'unknown'}) is dead; dcss down {system}"
                " removes what it left, and so does its next start"
            ) from None
        except OSError as error:
            raise LaunchError(f"system {system}: its control socket in {directory}: {error}") from error
        self.peer = peer_of(self._socket)
        self._watch = AnswerWatch(system, self.peer.pid, directory)

    def ask(
        self,
        request: str,
        *,
        timeout_seconds: float | None = None,
        on_output: Callable[[Output], None] | None = None,
        speaker: Speaker | None = None,
        **arguments: Any,
    ) -> Arguments:
        """Send the request and return its result; `on_output` takes what comes before it, `speaker` speaks meanwhile.

        Work may take long, as long as CP answers a `ping` meanwhile. Raises the ConfigError or LaunchError that CP
        answers; LaunchError, too, if CP ends first or takes longer than `timeout_seconds`; NotAnsweringError.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._limit_seconds = timeout_seconds or 0.0
        self._watch.heard()
        self._socket.settimeout(LOOK_SECONDS if timeout_seconds is None else min(LOOK_SECONDS, timeout_seconds))
        self._send(ControlRequest(request, arguments).pack(), request, deadline)
        received = bytearray()
        while part := self._receive(request, deadline, speaker):
            searched_bytes = len(received)
            received += part
            while (end := received.find(LINE_END, searched_bytes)) >= 0:
                answer = read_answer(bytes(received[:end]))
                del received[: end + 1]
                searched_bytes = 0
                if isinstance(answer, Taken):
                    if speaker is not None:
                        speaker.taken(answer.size_bytes)
                elif not isinstance(answer, Output):
                    return answer
                elif on_output is not None:
                    on_output(answer)
        raise LaunchError(f"{self._cp} ended before it answered {request}, or has too many clients")

    def take_down(self, timeout_seconds: float = DOWN_SECONDS) -> Arguments:
        """Take the system down, wait until its CP has ended, and return the answer that came first.

        Raises NotAnsweringError, EndedError if it is killed meanwhile, and LaunchError if it still runs after
        `timeout_seconds`.
        """
        try:
            pidfd = os.pidfd_open(self.peer.pid)  # before it is asked: while the connection stands, this is CP
        except ProcessLookupError as error:
            raise EndedError(f"{self._cp} ended before it was asked to go down") from error
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        try:
            try:
                answer = self.ask("down", timeout_seconds=timeout_seconds)
            except NotAnsweringError:
                raise
            except LaunchError as error:
                if ended.poll(_ENDING_SECONDS * 1000):
                    raise EndedError(str(error)) from error
                raise
            deadline = time.monotonic() + timeout_seconds
            while not ended.poll(LOOK_SECONDS * 1000):
                if time.monotonic() >= deadline:
                    raise self._watch.error(f"did not end within {timeout_seconds:g} s")
                self._watch.check_stopped()
            return answer
        finally:
            os.close(pidfd)

    def _send(self, line: bytes, request: str, deadline: float | None) -> None:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                self._check(request, deadline)
            except BrokenPipeError:
                return  # CP answers, and closes, before it has read what is too long: its answer may be there
            except ConnectionError as error:
                raise self._ended(request, error) from error

    def _receive(self, request: str, deadline: float | None, speaker: Speaker | None) -> bytes:
        while True:
            if speaker is not None:
                self._pass_on(speaker, request, deadline)
            try:
                part = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                self._check(request, deadline)
            except ConnectionError as error:
                raise self._ended(request, error) from error
            else:
                self._watch.heard()
                self._check_time(request, deadline)  # what comes without end must not keep this going either
                return part

    def _pass_on(self, speaker: Speaker, request: str, deadline: float | None) -> None:
        """Send what the speaker says until CP has sent something."""
        ours = self._socket.fileno()
        heard = False
        while not heard:
            waiting = select.poll()
            for descriptor in (ours, *speaker.descriptors()):
                waiting.register(descriptor, select.POLLIN)
            ready = [descriptor for descriptor, _ in waiting.poll(LOOK_SECONDS * 1000)]
            if not ready:
                self._check(request, deadline)
            heard = ours in ready
            for descriptor in ready:
                if descriptor != ours:
                    self._send(speaker.read(descriptor), request, deadline)

    def _ended(self, request: str, error: ConnectionError) -> LaunchError:
        return LaunchError(f"{self._cp} ended before it answered {request}: {error}")

    def _check(self, request: str, deadline: float | None) -> None:
        self._check_time(request, deadline)
        self._watch.check()

    def _check_time(self, request: str, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise self._watch.error(f"did not answer {request} within {self._limit_seconds:g} s")

    @property
    def _cp(self) -> str:
        return f"system {self.system}: its CP (process {self.peer.pid})"

    def cut(self) -> None:
        """Have `ask`, which another thread waits in, end now; CP cancels a command that was started in a guest."""
        with suppress(OSError):  # it is closed already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; a command that was started in a guest, and runs still, is cancelled."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(system: str, directory: Path) -> socket.socket:
    """Connect; wait where so many clients wait already that the kernel queues no more."""
    pid = _pid_in(directory)
    watch = AnswerWatch(system, pid or 0, directory)
    deadline = time.monotonic() + SILENT_SECONDS
    while True:
        try:
            return connected(directory)
        except BlockingIOError:
            watch.check_stopped()
            if is_overdue(pid or 0, deadline):
                raise watch.error("takes no clients") from None
            time.sleep(_CONNECT_SECONDS)


def _one_of(running: list[str]) -> str:
    return f"one of {', '.join(running)}" if running else "one that is up (none is)"

"""A command's end of the control socket: which systems run, and one request to one of them."""

import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

from dcss.errors import ConfigError, LaunchError
from dcss.host.paths import check_system_name, runtime_directory
from dcss.rpc.address import peer_of, socket_path
from dcss.rpc.protocol import LINE_END, Arguments, ControlRequest, Output, read_answer

CONNECT_SECONDS = 30.0


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
    """Return the systems of this user that run or left something behind, by name."""
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
    try:
        with _connect(directory):
            return Life.UP
    except TimeoutError:
        return Life.UP  # it listens, and is busy
    except FileNotFoundError:
        return Life.STARTING if _is_locked(directory) else Life.DEAD
    except OSError:
        return Life.DEAD


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


def _connect(directory: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_SECONDS)
        with socket_path(directory) as path:
            sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


class Client:
    """A connection to the CP of `system`, for one request. Raises ConfigError: it does not run; LaunchError: dead."""

    def __init__(self, system: str) -> None:
        self.system = system
        try:
            directory = runtime_directory() / check_system_name(system)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        try:
            self._socket = _connect(directory)
        except FileNotFoundError:
            running = [found.name for found in find_systems() if found.life is Life.UP]
            raise ConfigError(
                f"system {system}: found none of that name that runs, wanted {_one_of(running)}"
            ) from None
        except ConnectionRefusedError:
            raise LaunchError(
                f"system {system}: its CP (process {_pid_in(directory) or 'unknown'}) is dead; dcss down {system}"
                " removes what it left, and so does its next start"
            ) from None
        except OSError as error:
            raise LaunchError(f"system {system}: its control socket in {directory}: {error}") from error
        self.peer = peer_of(self._socket)

    def ask(
        self,
        request: str,
        *,
        timeout_seconds: float | None = None,
        on_output: Callable[[Output], None] | None = None,
        **arguments: Any,
    ) -> Arguments:
        """Send the request and return its result; `on_output` takes what comes before it.

        Raises the ConfigError or LaunchError that CP answers; LaunchError, too, if CP ends first or does not answer in
        time.
        """
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.sendall(ControlRequest(request, arguments).pack())
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    if not line.endswith(LINE_END):
                        break
                    answer = read_answer(line)
                    if not isinstance(answer, Output):
                        return answer
                    if on_output is not None:
                        on_output(answer)
        except TimeoutError as error:
            raise LaunchError(f"{self._cp} did not answer {request} within {timeout_seconds:g} s") from error
        except ConnectionError as error:
            raise LaunchError(f"{self._cp} ended before it answered {request}: {error}") from error
        raise LaunchError(f"{self._cp} ended before it answered {request}, or has too many clients")

    def take_down(self, timeout_seconds: float) -> Arguments:
        """Take the system down, wait until its CP has ended, and return the answer that came first.

        Raises LaunchError if it still runs after `timeout_seconds`.
        """
        pidfd = os.pidfd_open(self.peer.pid)  # before it is asked: while the connection stands, this is CP
        try:
            answer = self.ask("down", timeout_seconds=timeout_seconds)
            if not select.select([pidfd], [], [], timeout_seconds)[0]:
                raise LaunchError(
                    f"{self._cp} did not end within {timeout_seconds:g} s; kill it (kill -9 {self.peer.pid}), and its"
                    f" guests die with it; then dcss down {self.system} removes what it left"
                )
            return answer
        finally:
            os.close(pidfd)

    @property
    def _cp(self) -> str:
        return f"system {self.system}: its CP (process {self.peer.pid})"

    def close(self) -> None:
        """Close the connection; a command that was started in a guest, and runs still, is cancelled."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _one_of(running: list[str]) -> str:
    return f"one of {', '.join(running)}" if running else "one that is up (none is)"

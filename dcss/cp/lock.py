"""The lock that lets one CP run a system: flock(2) on its directory, which the kernel releases if CP is killed."""

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from dcss.errors import DcssError, SystemBusyError
from dcss.host.paths import check_system_name, private_directory, runtime_directory

PID_FILE = "pid"


def lock_directory(path: Path) -> int:
    """Make `path` if it is missing, lock it, and return the descriptor that holds the lock.

    Raises BlockingIOError if another process, or another part of this one, holds it.
    """
    while True:
        try:
            private_directory(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # a CP that ended removed it between the two
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # locked a directory that a CP which ended has removed: try again
        except BlockingIOError:
            os.close(descriptor)
            raise
        os.close(descriptor)


class SystemLock:
    """The right to be the one CP of `system`, held by flock until `release` or the end of the process.

    `directory` is the system's own in the runtime directory. Raises SystemBusyError, naming the process that holds it,
    and DcssError if the directory cannot be written.
    """

    def __init__(self, system: str) -> None:
        self.system = check_system_name(system)
        self.directory = runtime_directory() / system
        try:
            self._descriptor = lock_directory(self.directory)
        except BlockingIOError:
            raise SystemBusyError(self._busy()) from None
        self.keep: tuple[str, ...] = ()
        try:
            (self.directory / PID_FILE).write_text(f"{os.getpid()}\n", encoding="ascii")
        except OSError as error:
            self.release()
            raise DcssError(f"system {system}: {self.directory} cannot be written: {error.strerror}") from error

    def _busy(self) -> str:
        # The lock shows that a CP lives. The file only names it, for the message.
        try:
            process = (self.directory / PID_FILE).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            process = "unknown"
        runs = f"its CP already runs (process {process or 'unknown'})"
        return f"system {self.system}: {runs}; take it down first: dcss down {self.system}"

    def release(self) -> None:
        """Remove the system's runtime directory and give up the lock. May be called twice.

        The files that `keep` names stay, for people to read, and the directory with them, until the next start.
        """
        if self._descriptor >= 0:
            if self.keep:
                _remove_all_but({*self.keep, PID_FILE}, self.directory)
            else:
                shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _remove_all_but(names: set[str], directory: Path) -> None:
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)

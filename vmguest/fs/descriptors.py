"""A process's file descriptors (struct files_struct): numbers for open files, several perhaps for the same one."""

from collections.abc import Iterator
from errno import EBADF, EINVAL, EMFILE

from dcss.errors import KernelError
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_CLOEXEC, O_PATH, O_RDONLY, FileDescription, open_file

NOFILE = 1024  # RLIMIT_NOFILE, as Linux sets it


class Descriptors:
    """The table of one process. What `dup` and `fork` make shares the open file, and so its position.

    A number may be marked close-on-exec (FD_CLOEXEC), which its duplicates are not.
    """

    def __init__(self, vfs: Vfs, limit: int = NOFILE) -> None:
        self.limit = limit
        self._vfs = vfs
        self._files: dict[int, FileDescription] = {}
        self._close_on_exec: set[int] = set()
        self._used_below = 0  # all numbers below are in use: the search for a free one begins here (next_fd)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers in use, ascending."""
        return iter(sorted(self._files))

    def open(
        self,
        path: bytes,
        flags: int = O_RDONLY,
        directory: int | None = None,
        start: Dentry | None = None,
        mode: int = 0o666,
    ) -> int:
        """Open a path (openat); a relative one begins at the descriptor `directory`, or at `start`.

        Raises KernelError: EMFILE, EBADF, and what `open_file` raises.
        """
        number = self._unused(0)
        place = start if directory is None else self.get_any(directory).dentry
        self._put(number, open_file(self._vfs, path, flags, place, mode), close_on_exec=bool(flags & O_CLOEXEC))
        return number

    def install(self, opened: FileDescription, *, close_on_exec: bool = False) -> int:
        """Give an open file, which is the table's from now on, the lowest free number. Raises KernelError(EMFILE)."""
        try:
            number = self._unused(0)
        except KernelError:
            opened.close()
            raise
        self._put(number, opened, close_on_exec=close_on_exec)
        return number

    def get(self, number: int) -> FileDescription:
        """Return the open file of a descriptor (fdget). Raises KernelError(EBADF), also where it is only a place."""
        opened = self.get_any(number)
        if opened.flags & O_PATH:
            raise KernelError(EBADF, f"descriptor {number}: opened with O_PATH")
        return opened

    def get_any(self, number: int) -> FileDescription:
        """Return the open file of a descriptor, or the place that O_PATH opened. Raises KernelError(EBADF)."""
        opened = self._files.get(number)
        if opened is None:
            raise KernelError(EBADF, f"descriptor {number}: not open")
        return opened

    def closes_on_exec(self, number: int) -> bool:
        """Return whether execve(2) closes a descriptor (F_GETFD). Raises KernelError(EBADF)."""
        self.get_any(number)
        return number in self._close_on_exec

    def set_close_on_exec(self, number: int, wanted: bool) -> None:
        """Say whether execve(2) closes a descriptor (F_SETFD). Raises KernelError(EBADF)."""
        self.get_any(number)
        (self._close_on_exec.add if wanted else self._close_on_exec.discard)(number)

    def dup(self, number: int, at_least: int = 0, *, close_on_exec: bool = False) -> int:
        """Make one more descriptor of an open file, the lowest from `at_least` on. Raises KernelError: EBADF, EMFILE.

        EINVAL where `at_least` is no number that a descriptor can have (F_DUPFD, F_DUPFD_CLOEXEC).
        """
        opened = self.get_any(number)
        if not 0 <= at_least < self.limit:
            raise KernelError(EINVAL, f"descriptor {at_least}: wanted 0 to {self.limit - 1}")
        new = self._unused(at_least)
        self._put(new, opened.hold(), close_on_exec=close_on_exec)
        return new

    def dup2(self, number: int, new: int) -> int:
        """Have `new` mean what `number` means; what it meant is closed. Raises KernelError(EBADF)."""
        if new == number:
            self.get_any(number)
            return new
        return self.dup3(number, new)

    def dup3(self, number: int, new: int, flags: int = 0) -> int:
        """Do what `dup2` does, with O_CLOEXEC or 0. Raises KernelError: EBADF, EINVAL the same number, other flags."""
        if new == number or flags & ~O_CLOEXEC:
            raise KernelError(EINVAL, f"dup3 of {number} to {new}, flags {flags:#o}: wanted another number, O_CLOEXEC")
        if not 0 <= new < self.limit:
            raise KernelError(EBADF, f"descriptor {new}: wanted 0 to {self.limit - 1}")
        opened = self.get_any(number).hold()
        if new in self._files:
            self.close(new)
        self._put(new, opened, close_on_exec=bool(flags))
        return new

    def close(self, number: int) -> None:
        """End a descriptor. Raises KernelError(EBADF)."""
        opened = self.get_any(number)
        del self._files[number]
        self._used_below = min(self._used_below, number)
        self._close_on_exec.discard(number)
        if self._vfs.locks is not None:  # the process's locks on a file go with any of its descriptors
            self._vfs.locks.release(opened.dentry, self)
        opened.close()

    def fork(self) -> "Descriptors":
        """Return a child's table: the same numbers and marks, on the same open files."""
        child = Descriptors(self._vfs, self.limit)
        child._files = {number: opened.hold() for number, opened in self._files.items()}
        child._close_on_exec = set(self._close_on_exec)
        child._used_below = self._used_below
        return child

    def close_marked(self) -> None:
        """End the descriptors that are marked close-on-exec, as execve(2) does."""
        for number in sorted(self._close_on_exec):
            self.close(number)

    def close_all(self) -> None:
        """End every descriptor, as a process's end does."""
        for number in tuple(self._files):
            self.close(number)

    def _put(self, number: int, opened: FileDescription, *, close_on_exec: bool) -> None:
        self._files[number] = opened
        if close_on_exec:
            self._close_on_exec.add(number)

    def _unused(self, at_least: int) -> int:
        start = max(at_least, self._used_below)
        number = next((n for n in range(start, self.limit) if n not in self._files), None)
        if number is None:
            raise KernelError(EMFILE, f"{len(self._files)} descriptors are open, wanted at most {self.limit}")
        if at_least <= self._used_below:
            self._used_below = number
        return number

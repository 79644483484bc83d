"""A process's file descriptors (struct files_struct): numbers for open files, several perhaps for the same one."""

from errno import EBADF, EINVAL, EMFILE

from dcss.errors import KernelError
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_RDONLY, FileDescription, open_file

NOFILE = 1024  # RLIMIT_NOFILE, as Linux sets it


class Descriptors:
    """The table of one process. What `dup` and `fork` make shares the open file, and so its position."""

    def __init__(self, vfs: Vfs, limit: int = NOFILE) -> None:
        self.limit = limit
        self._vfs = vfs
        self._files: dict[int, FileDescription] = {}

    def open(
        self, path: bytes, flags: int = O_RDONLY, directory: int | None = None, start: Dentry | None = None
    ) -> int:
        """Open a path (openat); a relative one begins at the descriptor `directory`, or at `start`.

        Raises KernelError: EMFILE, EBADF, and what `open_file` raises.
        """
        number = self._unused(0)
        place = start if directory is None else self.get(directory).dentry
        self._files[number] = open_file(self._vfs, path, flags, place)
        return number

    def install(self, opened: FileDescription) -> int:
        """Give an open file, which is the table's from now on, the lowest free number. Raises KernelError(EMFILE)."""
        try:
            number = self._unused(0)
        except KernelError:
            opened.close()
            raise
        self._files[number] = opened
        return number

    def get(self, number: int) -> FileDescription:
        """Return the open file of a descriptor. Raises KernelError(EBADF)."""
        opened = self._files.get(number)
        if opened is None:
            raise KernelError(EBADF, f"descriptor {number}: not open")
        return opened

    def dup(self, number: int, at_least: int = 0) -> int:
        """Make one more descriptor of an open file, the lowest from `at_least` on. Raises KernelError: EBADF, EMFILE.

        EINVAL where `at_least` is no number that a descriptor can have (F_DUPFD).
        """
        opened = self.get(number)
        if not 0 <= at_least < self.limit:
            raise KernelError(EINVAL, f"descriptor {at_least}: wanted 0 to {self.limit - 1}")
        new = self._unused(at_least)
        self._files[new] = opened.hold()
        return new

    def dup2(self, number: int, new: int) -> int:
        """Have `new` mean what `number` means; what it meant is closed. Raises KernelError(EBADF)."""
        opened = self.get(number)
        if not 0 <= new < self.limit:
            raise KernelError(EBADF, f"descriptor {new}: wanted 0 to {self.limit - 1}")
        if new != number:
            opened.hold()
            if new in self._files:
                self.close(new)
            self._files[new] = opened
        return new

    def close(self, number: int) -> None:
        """End a descriptor. Raises KernelError(EBADF)."""
        self.get(number).close()
        del self._files[number]

    def fork(self) -> "Descriptors":
        """Return a child's table: the same numbers, on the same open files."""
        child = Descriptors(self._vfs, self.limit)
        child._files = {number: opened.hold() for number, opened in self._files.items()}
        return child

    def close_all(self) -> None:
        """End every descriptor, as a process's end does."""
        for number in tuple(self._files):
            self.close(number)

    def _unused(self, at_least: int) -> int:
        number = next((n for n in range(at_least, self.limit) if n not in self._files), None)
        if number is None:
            raise KernelError(EMFILE, f"{len(self._files)} descriptors are open, wanted at most {self.limit}")
        return number

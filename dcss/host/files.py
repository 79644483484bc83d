"""Files whose names others choose, and files that are whole after a crash: written beside it, synced, renamed."""

import contextlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from errno import EINVAL
from pathlib import Path

FaultPoint = Callable[[str], None]  # called after each step, with its name; a test kills the process there
NEW_SUFFIX = ".new"
LOG_TAIL_BYTES = 4096


_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class WrongKindError(OSError):
    """A name stands for something else than a regular file."""

    def __init__(self, path: object, mode: int, wanted: str = "a regular file") -> None:
        self.path, self.found = path, _KINDS.get(stat.S_IFMT(mode), "an unknown kind of file")
        super().__init__(EINVAL, f"found {self.found}, wanted {wanted}")

    def __str__(self) -> str:
        return f"{self.path}: {self.strerror}"


def open_regular(
    path: str | bytes | Path, *, follow: bool = True, block_device: bool = False, writable: bool = False
) -> int:
    """Open a regular file for reading, and return its descriptor; with `block_device` it may be a block device.

    With `writable` it is open for writing too.

    Whatever else the name stands for is not opened, so that nothing waits and no device does anything. Without `follow`
    a symbolic link is something else, too. Raises WrongKindError, OSError.
    """
    named = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        mode = os.fstat(named).st_mode
        if not (stat.S_ISREG(mode) or (block_device and stat.S_ISBLK(mode))):
            wanted = "a regular file or block device" if block_device else "a regular file"
            raise WrongKindError(os.fsdecode(path), mode, wanted)
        access = os.O_RDWR if writable else os.O_RDONLY
        return os.open(f"/proc/self/fd/{named}", access | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(named)


def read_regular(path: Path, max_bytes: int, *, follow: bool = True) -> bytes:
    """Return the content of a small regular file. Raises WrongKindError, ValueError if it is longer, OSError."""
    with open(open_regular(path, follow=follow), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"found more than {max_bytes} bytes")
    return content


def create_new(path: Path, mode: int = 0o600) -> int:
    """Create a regular file in the place of one that an earlier run left, and return a descriptor for both ways."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink()
    return os.open(path, flags, mode)


def check_replaceable(path: Path) -> None:
    """Raise WrongKindError if `path` is there and no regular file: a new file must not take its place."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise WrongKindError(path, mode)


def no_fault(step: str) -> None:
    """Do nothing: the fault point of every run that is not a crash test."""


def sync_directory(directory: Path) -> None:
    """Bring the names in `directory` to stable storage."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, write: Callable[[int], object], fault: FaultPoint = no_fault, mode: int = 0o600) -> None:
    """Create or replace `path` with what `write(descriptor)` writes. On any failure `path` is as it was.

    Raises WrongKindError if it is no regular file.
    """
    check_replaceable(path)
    new = path.with_name(path.name + NEW_SUFFIX)
    kind = path.suffix[1:]
    try:
        descriptor = create_new(new, mode)
        try:
            fault(f"{kind} created")
            write(descriptor)
            fault(f"{kind} written")
            os.fsync(descriptor)
            fault(f"{kind} synced")
        finally:
            os.close(descriptor)
        new.rename(path)
        fault(f"{kind} renamed")
        sync_directory(path.parent)
        fault(f"{kind} in place")
    except BaseException:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            new.unlink()
        raise


@contextlib.contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Have an OSError within say which file it is about, which one of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and not isinstance(error, WrongKindError):
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def appearing_whole(path: Path, mode: int = 0o666) -> Iterator[int]:
    """Yield a descriptor of a new file that replaces `path` on success and is removed on failure; make directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        yield descriptor
        partial.replace(path)
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def empty_file(descriptor: int) -> None:
    """Have a file in memory hold zeros and no memory, also for those who map it; its size stays. Raises OSError."""
    with mmap.mmap(descriptor, 0) as content:
        content.madvise(mmap.MADV_REMOVE)


def remove_durably(path: Path, fault: FaultPoint) -> None:
    """Remove `path` if it exists."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        fault(f"{path.suffix[1:]} removed")
        sync_directory(path.parent)


def set_aside(path: Path, directory: Path) -> Path:
    """Move `path` into `directory` under a name that nothing there has, and return it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    taken = {entry.name for entry in directory.iterdir()}
    number = next(number for number in range(1, len(taken) + 2) if f"{path.name}.{number}" not in taken)
    target = directory / f"{path.name}.{number}"
    path.rename(target)
    sync_directory(directory)
    sync_directory(path.parent)
    return target


def log_tail(path: Path) -> str:
    """Return the end of a guest's log, or why it cannot be read."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
    except OSError as error:
        return f"its log cannot be read: {error}"

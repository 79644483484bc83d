"""This machine's kernel as the reference for open files: flags, positions that dup shares, seeks, bytes."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from cp_support import control_program
from guest_support import guest_kernel
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from dcss.errors import KernelError
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.namei import mkdir, symlink
from vmguest.fs.open import (
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    open_file,
)
from vmguest.kernel import Kernel

Step = tuple[str, tuple[int, ...]]
HOST_FLAGS = {
    O_WRONLY: os.O_WRONLY, O_RDWR: os.O_RDWR, O_CREAT: os.O_CREAT, O_EXCL: os.O_EXCL, O_TRUNC: os.O_TRUNC,
    O_APPEND: os.O_APPEND, O_DIRECTORY: os.O_DIRECTORY, O_NOFOLLOW: os.O_NOFOLLOW,
}  # fmt: skip
PATHS = ("f", "g", "link", "d", "d/h", "nosuch/x", "g/", "to-nowhere")
DATA = bytes(range(1, 64)) * 200

number = st.integers(0, 5)
flags = st.tuples(
    st.sampled_from([O_RDONLY, O_WRONLY, O_RDWR]),
    st.lists(st.sampled_from([O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW]), max_size=3),
).map(lambda drawn: drawn[0] | sum(set(drawn[1])))
steps = st.one_of(
    st.tuples(st.just("open"), st.tuples(st.integers(0, len(PATHS) - 1), flags)),
    st.tuples(st.just("write"), st.tuples(number, st.sampled_from([0, 1, 100, 4096, 5000, 9999]))),
    st.tuples(st.just("read"), st.tuples(number, st.sampled_from([0, 1, 50, 4096, 20000]))),
    st.tuples(st.just("seek"), st.tuples(number, st.sampled_from([-5000, -1, 0, 1, 3, 4097, 9000]), st.integers(0, 5))),
    st.tuples(st.just("truncate"), st.tuples(number, st.sampled_from([0, 1, 4096, 12345]))),
    st.tuples(st.just("dup"), st.tuples(number)),
    st.tuples(st.just("dup2"), st.tuples(number, number)),
    st.tuples(st.just("close"), st.tuples(number)),
    st.tuples(st.just("size"), st.tuples(number)),
)


class Files:
    """One side: handles, numbered by when they were made, on descriptors of a kernel."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def number(self, handle: int) -> int:
        return self.numbers[handle] if handle < len(self.numbers) else -1

    def run(self, name: str, words: tuple[int, ...]) -> object:
        try:
            return getattr(self, name)(*words)
        except OSError as error:
            return errno.errorcode[error.errno or 0]


class HostFiles(Files):
    """This machine's kernel's side."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def open(self, path: int, flags: int) -> None:
        host = sum(theirs for ours, theirs in HOST_FLAGS.items() if flags & ours)
        self.numbers.append(os.open(f"{self._directory}/{PATHS[path]}", host, 0o644))

    def write(self, handle: int, size_bytes: int) -> int:
        return os.write(self.number(handle), DATA[:size_bytes])

    def read(self, handle: int, size_bytes: int) -> bytes:
        return os.read(self.number(handle), size_bytes)

    def seek(self, handle: int, offset: int, whence: int) -> int:
        return os.lseek(self.number(handle), offset, whence)

    def truncate(self, handle: int, size_bytes: int) -> None:
        os.ftruncate(self.number(handle), size_bytes)

    def dup(self, handle: int) -> None:
        self.numbers.append(os.dup(self.number(handle)))

    def dup2(self, handle: int, other: int) -> None:
        if self.number(other) >= 0:
            os.dup2(self.number(handle), self.number(other))

    def close(self, handle: int) -> None:
        os.close(self.number(handle))
        self.numbers[handle] = -1

    def size(self, handle: int) -> int:
        return os.fstat(self.number(handle)).st_size

    def end(self) -> None:
        for handle in self.numbers:
            if handle >= 0:
                os.close(handle)


class GuestFiles(Files):
    """The guest kernel's side."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.table = Descriptors(kernel.vfs)

    def open(self, path: int, flags: int) -> None:
        self.numbers.append(self.table.open(b"/tmp/" + PATHS[path].encode(), flags))

    def write(self, handle: int, size_bytes: int) -> int:
        return self.table.get(self.number(handle)).write(DATA[:size_bytes])

    def read(self, handle: int, size_bytes: int) -> bytes:
        buffer = memoryview(bytearray(size_bytes))
        return bytes(buffer[: self.table.get(self.number(handle)).read(buffer)])

    def seek(self, handle: int, offset: int, whence: int) -> int:
        return self.table.get(self.number(handle)).seek(offset, whence)

    def truncate(self, handle: int, size_bytes: int) -> None:
        self.table.get(self.number(handle)).truncate(size_bytes)

    def dup(self, handle: int) -> None:
        self.numbers.append(self.table.dup(self.number(handle)))

    def dup2(self, handle: int, other: int) -> None:
        if self.number(other) >= 0:
            self.table.dup2(self.number(handle), self.number(other))

    def close(self, handle: int) -> None:
        self.table.close(self.number(handle))
        self.numbers[handle] = -1

    def size(self, handle: int) -> int:
        return self.table.get(self.number(handle)).dentry.inode.size_bytes


@settings(max_examples=300, phases=[Phase.explicit, Phase.generate])
@given(script=st.lists(steps, min_size=5, max_size=30))
@example([("open", (0, O_RDWR | O_CREAT)), ("write", (0, 100)), ("dup", (0,)), ("seek", (1, 3, 0)), ("read", (0, 50))])
@example([("open", (0, O_RDWR | O_CREAT)), ("open", (0, O_WRONLY | O_APPEND)), ("write", (0, 100)), ("write", (1, 1))])
def test_open_files_are_the_kernels(script: list[Step]) -> None:
    directories: set[int] = set()
    with TemporaryDirectory() as directory, control_program() as cp, guest_kernel(cp) as kernel:
        Path(directory, "d").mkdir()
        Path(directory, "link").symlink_to("f")
        Path(directory, "to-nowhere").symlink_to("d/made")
        mkdir(kernel.vfs, b"/tmp/d")
        symlink(kernel.vfs, b"f", b"/tmp/link")
        symlink(kernel.vfs, b"d/made", b"/tmp/to-nowhere")
        host, guest = HostFiles(Path(directory)), GuestFiles(kernel)
        try:
            for name, words in script:
                if name in {"seek", "size"} and host.number(words[0]) in directories:
                    continue  # sizes of directories, and positions in them, are each file system's own
                theirs, ours = host.run(name, words), guest.run(name, words)
                assert (name, words, ours) == (name, words, theirs), (script, host.numbers)
                directories = {n for n in host.numbers if n >= 0 and _is_directory(n)}
            for name in ("f", "g", "d/h", "d/made"):
                path = Path(directory, name)
                assert _guest_content(kernel, name) == (path.read_bytes() if path.exists() else None), (name, script)
        finally:
            host.end()
            guest.table.close_all()
        assert not any(mount.users for mount in kernel.vfs.mounts)


def _guest_content(kernel: Kernel, name: str) -> bytes | None:
    try:
        with open_file(kernel.vfs, b"/tmp/" + name.encode()) as opened:
            buffer = memoryview(bytearray(opened.file.size_bytes))
            assert opened.read(buffer) == len(buffer)
            return bytes(buffer)
    except KernelError as error:
        assert error.errno == errno.ENOENT
        return None


def _is_directory(descriptor: int) -> bool:
    return bool(os.fstat(descriptor).st_mode & 0o040000)

"""Programs that are begun by an open file, or by a path from a directory (execveat)."""

from errno import EBADF, EINVAL, ELOOP, ENOENT

import pytest
from calls390_support import AT_FDCWD, Caller
from guest390_support import Guest390

O_RDONLY, O_PATH, O_CLOEXEC = 0, 0o10000000, 0o2000000
AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def begin(caller: Caller, directory: int, path: bytes, flags: int = 0) -> int | None:
    return caller.call("execveat", directory, path + b"\0", 0, 0, flags)


@pytest.mark.parametrize("flags", [O_RDONLY, O_PATH, O_PATH | O_CLOEXEC])
def test_an_open_file(caller: Caller, flags: int) -> None:
    assert begin(caller, caller.open(b"/bin/hello", flags), b"", AT_EMPTY_PATH) is None
    assert caller.process.executable is not None
    assert caller.process.executable.name == b"hello"


def test_a_path_from_a_directory(caller: Caller) -> None:
    directory = caller.open(b"/bin", O_PATH)
    assert begin(caller, directory, b"hello") is None
    assert caller.process.executable is not None
    assert caller.process.executable.name == b"hello"


def test_what_is_refused(caller: Caller) -> None:
    assert caller.call("symlinkat", b"/bin/hello\0", AT_FDCWD, b"/tmp/link\0") == 0
    assert begin(caller, AT_FDCWD, b"") == -ENOENT
    assert begin(caller, AT_FDCWD, b"/bin/hello", 1) == -EINVAL
    assert begin(caller, AT_FDCWD, b"/tmp/link", AT_SYMLINK_NOFOLLOW) == -ELOOP
    assert begin(caller, 99, b"hello") == -EBADF
    assert begin(caller, 99, b"", AT_EMPTY_PATH) == -EBADF

"""Files that are opened by paths that may lead only so far (openat2)."""

import struct
from errno import E2BIG, EINVAL, ELOOP, ENOENT, EXDEV

import pytest
from calls390_support import AT_FDCWD, Caller
from guest390_support import Guest390

O_CREAT, O_RDWR, O_DIRECTORY, O_PATH = 0o100, 2, 0o200000, 0o10000000
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 1, 2, 4, 8, 16


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    made = Caller(guest)
    for each in (b"/tmp/top", b"/tmp/top/inner"):
        assert made.call("mkdirat", AT_FDCWD, each + b"\0", 0o755) == 0
    made.call("close", made.open(b"/tmp/top/file", O_CREAT | O_RDWR))
    for target, name in ((b"/file", b"absolute"), (b"../../bin/hello", b"out"), (b"inner/../file", b"inside")):
        assert made.call("symlinkat", target + b"\0", AT_FDCWD, b"/tmp/top/" + name + b"\0") == 0
    return made


def opened(caller: Caller, path: bytes, resolve: int, flags: int = 0, mode: int = 0) -> bytes | int:
    """Open a path from /tmp/top; return what /proc says of the descriptor, or an errno below 0."""
    directory = caller.open(b"/tmp/top", O_DIRECTORY)
    number = caller.call("openat2", directory, path + b"\0", struct.pack(">3Q", flags, mode, resolve), 24)
    assert number is not None
    return number if number < 0 else caller.process.files.get_any(number).dentry.path


@pytest.mark.parametrize(
    ("path", "resolve", "found"),
    [
        (b"file", BENEATH, b"/tmp/top/file"),
        (b"inner/../file", BENEATH, b"/tmp/top/file"),
        (b"inside", BENEATH, b"/tmp/top/file"),
        (b"inside", NO_SYMLINKS, -ELOOP),
        (b"..", BENEATH, -EXDEV),
        (b"inner/../../top/file", BENEATH, -EXDEV),
        (b"out", BENEATH, -EXDEV),
        (b"out", 0, b"/bin/hello"),
        (b"/bin/hello", BENEATH, -EXDEV),
        (b"absolute", BENEATH, -EXDEV),
        (b"absolute", IN_ROOT, b"/tmp/top/file"),
        (b"/file", IN_ROOT, b"/tmp/top/file"),
        (b"/../../file", IN_ROOT, b"/tmp/top/file"),
        (b"out", IN_ROOT, -ENOENT),
        (b"../../bin/hello", NO_XDEV, -EXDEV),
        (b"../top/file", NO_XDEV, b"/tmp/top/file"),
        (b"/proc/self/exe", NO_MAGICLINKS, -ELOOP),
        (b"/proc/self/stat", NO_MAGICLINKS, None),
        (b"nosuch", BENEATH, -ENOENT),
    ],
)
def test_a_path_leads_as_far_as_it_may(caller: Caller, path: bytes, resolve: int, found: bytes | int | None) -> None:
    assert found in {None, opened(caller, path, resolve)}
    assert caller.guest.kernel.vfs.scope is None


def test_a_file_is_made_where_the_path_may_lead(caller: Caller) -> None:
    assert opened(caller, b"/made", IN_ROOT, O_CREAT | O_RDWR, 0o600) == b"/tmp/top/made"
    assert opened(caller, b"../made", BENEATH, O_CREAT | O_RDWR, 0o600) == -EXDEV
    assert caller.call("faccessat", AT_FDCWD, b"/tmp/made\0", 0) == -ENOENT


@pytest.mark.parametrize(
    ("how", "size_bytes", "errno"),
    [
        (struct.pack(">3Q", 0, 0, 0), 16, EINVAL),
        (struct.pack(">3Q", 0, 0, 0), 4097, E2BIG),
        (struct.pack(">4Q", 0, 0, 0, 1), 32, E2BIG),
        (struct.pack(">3Q", 1 << 40, 0, 0), 24, EINVAL),
        (struct.pack(">3Q", 0, 0o600, 0), 24, EINVAL),
        (struct.pack(">3Q", O_PATH | O_RDWR, 0, 0), 24, EINVAL),
        (struct.pack(">3Q", 0, 0, 64), 24, EINVAL),
        (struct.pack(">3Q", 0, 0, BENEATH | IN_ROOT), 24, EINVAL),
    ],
)
def test_what_is_refused(caller: Caller, how: bytes, size_bytes: int, errno: int) -> None:
    assert caller.call("openat2", AT_FDCWD, b"/bin/hello\0", how, size_bytes) == -errno

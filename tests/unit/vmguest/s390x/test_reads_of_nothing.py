"""A read of no bytes returns 0, wherever the position is, and tells what a read of some bytes would tell."""

from errno import EBADF
from struct import pack

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.fs.open import O_RDONLY, O_WRONLY

POSITIONS = (0, 5, 4096, 4100, 9000)


@pytest.mark.parametrize("path", [b"/bin/hello", b"/tmp/file"])
def test_it_returns_0_at_any_position(guest: Guest390, path: bytes) -> None:
    guest.put("file", bytes(5000))
    caller = Caller(guest)
    number, vector = caller.open(path, O_RDONLY), caller.put(pack(">4Q", 0, 0, 0, 0))
    for position in POSITIONS:
        assert caller.call("lseek", number, position, 0) == position
        assert caller.call("read", number, 0, 0) == 0
        assert caller.call("pread64", number, 0, 0, position) == 0
        assert caller.call("readv", number, vector, 2) == 0


def test_it_fails_where_nothing_can_be_read(guest: Guest390) -> None:
    guest.put("file", b"x")
    caller = Caller(guest)
    number = caller.open(b"/tmp/file", O_WRONLY)
    assert caller.call("read", number, 0, 0) == -EBADF

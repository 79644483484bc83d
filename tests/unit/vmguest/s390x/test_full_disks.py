"""Writes where a file system gets full: as much as found room, and ENOSPC where nothing did."""

from errno import ENOSPC

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from dcss.abi.page import PAGE_SIZE
from vmguest.fs.namei import mkdir
from vmguest.fs.open import O_CREAT, O_RDWR

PAGES = 4


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    """A process of a guest that has a tmpfs of four pages at /tmp/full."""
    mkdir(guest.kernel.vfs, b"/tmp/full")
    guest.kernel.mount("", "/tmp/full", (f"size={PAGES * PAGE_SIZE}",), "tmpfs")
    return Caller(guest)


def test_a_write_is_cut_where_the_file_system_is_full(caller: Caller) -> None:
    number = caller.open(b"/tmp/full/file", O_CREAT | O_RDWR)
    assert caller.call("write", number, b"x" * 100, 100) == 100
    data = caller.put(b"y" * (PAGES + 2) * PAGE_SIZE)
    assert caller.call("write", number, data, (PAGES + 2) * PAGE_SIZE) == PAGES * PAGE_SIZE - 100
    assert caller.call("write", number, data, 1) == -ENOSPC
    assert caller.call("lseek", number, 0, 1) == PAGES * PAGE_SIZE
    assert caller.call("pwrite64", number, data, 100, 50) == 100
    assert caller.call("pwrite64", number, data, 100, PAGES * PAGE_SIZE - 10) == 10
    vector = caller.put(b"".join(each.to_bytes(8) for each in (data, 5, data, 2 * PAGE_SIZE)))
    assert caller.call("lseek", number, PAGES * PAGE_SIZE - 7, 0) == PAGES * PAGE_SIZE - 7
    assert caller.call("writev", number, vector, 2) == 7


def test_copies_are_cut_too(caller: Caller) -> None:
    source = caller.open(b"/tmp/source", O_CREAT | O_RDWR)
    data = caller.put(b"y" * (PAGES + 2) * PAGE_SIZE)
    assert caller.call("write", source, data, (PAGES + 2) * PAGE_SIZE) == (PAGES + 2) * PAGE_SIZE
    number = caller.open(b"/tmp/full/file", O_CREAT | O_RDWR)
    wanted = (PAGES + 2) * PAGE_SIZE
    assert caller.call("copy_file_range", source, bytes(8), number, bytes(8), wanted, 0) == PAGES * PAGE_SIZE
    assert caller.call("ftruncate", number, 0) == 0
    assert caller.call("sendfile", number, source, bytes(8), wanted) == PAGES * PAGE_SIZE

"""Writes where a file system gets full: as much as found room, and ENOSPC where nothing did."""

from errno import ENOSPC
from pathlib import Path

import pytest
from calls390_support import Caller
from cp_support import BlockingCp
from ext2_support import make_image
from guest390_support import Guest390, guest390
from guest_support import definition, fill_with
from needs_support import needs

from dcss.abi.page import PAGE_SIZE
from vmguest.credentials import Credentials
from vmguest.fs.attr import chmod
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


@needs("mke2fs")
@pytest.mark.parametrize("options", [("rw", "xip"), ("rw",)], ids=["in place", "page cache"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_writes_are_cut_on_a_disk(
    control_program: BlockingCp, tmp_path: Path, options: tuple[str, ...], uid: int
) -> None:
    image = make_image(tmp_path / "image", "512K", "-b", "4096", "-m", "10")
    control_program.publish(definition("RW", "30000-3007F SW"), fill_with(image.read_bytes()))
    with guest390(control_program) as guest:
        guest.kernel.dcssblk.load_module("RW")
        mkdir(guest.kernel.vfs, b"/tmp/disk")
        guest.kernel.mount("dcssblk1", "/tmp/disk", options)
        chmod(guest.kernel.vfs, guest.kernel.vfs.resolve(b"/tmp/disk"), 0o777)
        caller = Caller(guest)
        caller.process.credentials = Credentials(uid=uid, gid=uid)
        number = caller.open(b"/tmp/disk/file", O_CREAT | O_RDWR)
        size_bytes = 40 * PAGE_SIZE
        data, written, results = caller.put(b"z" * size_bytes), 0, [0]
        while (result := caller.call("write", number, data, size_bytes)) != -ENOSPC:
            assert result is not None
            assert result > 0
            results.append(result)
            written += result
        assert 0 < results[-1] < size_bytes
        assert set(results[1:-1]) <= {size_bytes}
        assert caller.call("lseek", number, 0, 2) == written
        assert caller.call("pread64", number, caller.put(16), 16, written - 8) == 8

"""What is stored through shared mappings of files on a disk reaches the disk, and the times of the file tell."""

from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest
from calls390_support import Caller
from cp_support import BlockingCp
from ext2_support import make_image
from guest390_support import Guest390, guest390
from guest_support import definition, fill_with
from needs_support import needs

from dcss.abi.page import PAGE_SIZE
from vmguest.fs.attr import utimens
from vmguest.fs.namei import mkdir
from vmguest.fs.open import O_CREAT, O_RDWR, SEEK_END
from vmguest.mm_area import PROT_READ, PROT_WRITE

pytestmark = needs("mke2fs")
MAP_SHARED, MS_ASYNC, MS_SYNC = 1, 1, 4
BEFORE, AFTER = b"what was written", b"what was stored!"


@pytest.fixture(params=[("rw", "xip"), ("rw",)], ids=["in place", "page cache"])
def guest(control_program: BlockingCp, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Guest390]:
    """A guest with a disk that can be written at /tmp/disk."""
    image = make_image(tmp_path / "image", "2M", "-b", "4096")
    control_program.publish(definition("RW", "30000-301FF SW"), fill_with(image.read_bytes()))
    with guest390(control_program) as made:
        made.kernel.dcssblk.load_module("RW")
        mkdir(made.kernel.vfs, b"/tmp/disk")
        made.kernel.mount("dcssblk1", "/tmp/disk", request.param)
        yield made


def on_disk(guest: Guest390) -> bytes:
    """Return what is in the segment."""
    device = guest.kernel.dcssblk.devices[1]
    handle = device.open()
    try:
        return bytes(device.direct_access(handle, 0, device.size_bytes).view())
    finally:
        device.release(handle)


def mapped(caller: Caller) -> tuple[int, int]:
    """Map a file, which is made with some text if it is not there; return its descriptor and the address."""
    number = caller.open(b"/tmp/disk/file", O_CREAT | O_RDWR)
    if caller.call("lseek", number, 0, SEEK_END) == 0:
        assert caller.call("write", number, BEFORE, len(BEFORE)) == len(BEFORE)
        assert caller.call("fsync", number) == 0
    block = pack(">6Q", 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0)
    address = caller.call("mmap", block)
    assert address
    return number, address


@pytest.mark.parametrize("way", ["msync", "fsync", "sync", "munmap", "exit"])
def test_what_was_stored_is_written(guest: Guest390, way: str) -> None:
    caller = Caller(guest)
    number, address = mapped(caller)
    for round_number in range(2):
        text = AFTER + bytes([round_number + 48])
        caller.process.space.write(address, text)
        if way == "msync":
            assert caller.call("msync", address, PAGE_SIZE, MS_SYNC) == 0
        elif way == "fsync":
            assert caller.call("fsync", number) == 0
        elif way == "sync":
            assert caller.call("sync") == 0
        elif way == "munmap":
            assert caller.call("munmap", address, PAGE_SIZE) == 0
            guest.kernel.sync()
            number, address = mapped(caller)
        else:
            guest.programs.end(caller.process)
            guest.kernel.sync()
            caller = Caller(guest)
            number, address = mapped(caller)
        assert text in on_disk(guest)


def test_a_store_sets_the_times_of_a_change(guest: Guest390) -> None:
    caller = Caller(guest)
    _, address = mapped(caller)
    vfs = guest.kernel.vfs
    place = vfs.resolve(b"/tmp/disk/file")
    utimens(vfs, place, 1000, 1000)
    assert caller.get(address, len(BEFORE)) == BEFORE
    assert vfs.resolve(b"/tmp/disk/file").inode.mtime == 1000
    caller.process.space.write(address, AFTER)
    assert vfs.resolve(b"/tmp/disk/file").inode.mtime > 1000

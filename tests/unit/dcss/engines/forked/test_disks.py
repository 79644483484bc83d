"""Files that a guest gets as disks: opened before it starts, and known by what /proc shows of their mappings."""

import mmap
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from dcss.account.maps import read_maps
from dcss.config.plan import DiskPlan
from dcss.engines.base import GuestRefusedError
from dcss.engines.forked.disks import OpenDisks, open_disks


def disk(path: Path, *, writable: bool = False) -> DiskPlan:
    return DiskPlan(path.name, path, writable, "test.yaml:3")


def object_of(path: Path) -> tuple[int, int]:
    """Return device and inode as a mapping shows them."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        return next(vma.object for vma in read_maps(os.getpid()) if vma.path == os.fsencode(path))


def test_disks_are_open_as_far_as_they_may_be_written_until_the_stack_ends(tmp_path: Path) -> None:
    first, second, empty = (tmp_path / name for name in ("first", "second", "empty"))
    for path in (first, second):
        path.write_bytes(path.name.encode())
    empty.touch()
    with ExitStack() as stack:
        found = open_disks([disk(second, writable=True), disk(empty), disk(first)], stack)
        assert found.files == {object_of(first), object_of(second)}
        assert found.writable
        assert not open_disks([disk(first), disk(empty)], stack).writable
        written, _, read = found.descriptors
        assert (os.pread(written, 9, 0), os.pread(read, 9, 0)) == (b"second", b"first")
        assert os.pwrite(written, b"S", 0) == 1
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(read, b"x", 0)
    for descriptor in found.descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    with ExitStack() as stack:
        assert open_disks([], stack) == OpenDisks()


@pytest.mark.parametrize("writable", [False, True])
def test_what_cannot_be_a_disk_is_refused_with_its_line(tmp_path: Path, writable: bool) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    how = "reading and writing" if writable else "reading"
    with ExitStack() as stack:
        for name, reason in (("directory", ""), ("fifo", ""), ("none", f"cannot be opened for {how}: No such file")):
            with pytest.raises(GuestRefusedError, match=f"^test.yaml:3: .*{name}.*{reason}"):
                open_disks([disk(tmp_path / name, writable=writable)], stack)

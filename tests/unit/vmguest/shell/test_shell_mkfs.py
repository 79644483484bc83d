"""mke2fs in a guest: an empty ext2 on a disk that can be written, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp
from ext2_support import e2fs
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from shell_support import out, sh

from vmguest.kernel import Kernel


@pytest.fixture
def disks(control_program: BlockingCp) -> Iterator[Kernel]:
    """A guest with a disk that can be written, one that cannot, and one that is too small for any file system."""
    for name, words in (("RW", "20000-200FF SW"), ("RO", "21000-210FF SR"), ("SMALL", "22000-22001 SW")):
        control_program.publish(definition(name, words), fill_with(b"what was there before" * 100))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RW,RO,SMALL")
        yield kernel


@needs("e2fsck")
@pytest.mark.parametrize("command", ["mke2fs -F -b 4096", "mkfs.ext2 -t ext2"])
def test_an_empty_file_system_is_made_and_mounted(disks: Kernel, tmp_path: Path, command: str) -> None:
    assert out(disks, f"{command} /dev/dcssblk0") == b"Creating filesystem with 256 4k blocks and 96 inodes\n"
    out(disks, "mount /dev/dcssblk0 /mnt; echo text > /mnt/file; mkdir /mnt/d")
    assert out(disks, "ls /mnt; cat /mnt/file") == b"d\nfile\nlost+found\ntext\n"
    out(disks, "umount /mnt")
    device = disks.dcssblk.devices[0]
    handle = device.open()
    (tmp_path / "image").write_bytes(device.direct_access(handle, 0, device.size_bytes).view())
    device.release(handle)
    e2fs("e2fsck", "-fn", tmp_path / "image")


def test_nothing_is_said_where_that_is_asked_for(disks: Kernel) -> None:
    assert out(disks, "mke2fs -q /dev/dcssblk0") == b""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("-b 1024 /dev/dcssblk0", "/dev/dcssblk0: Invalid argument"),
        ("-t ext4 /dev/dcssblk0", "/dev/dcssblk0: Invalid argument"),
        ("/dev/dcssblk1", "/dev/dcssblk1: Read-only file system"),
        ("/dev/dcssblk2", "/dev/dcssblk2: Invalid argument"),
        ("/dev/null", "/dev/null: Block device required"),
        ("/tmp", "/tmp: Block device required"),
        ("/dev/none", "/dev/none: No such file or directory"),
    ],
)
def test_what_is_no_disk_to_write_to_is_refused(disks: Kernel, words: str, reason: str) -> None:
    ran = sh(disks, f"mke2fs {words}")
    assert (ran.status, ran.out, ran.err) == (1, b"", f"mke2fs: {reason}\n")


def test_a_disk_that_is_mounted_is_left_alone(disks: Kernel) -> None:
    out(disks, "mke2fs -q /dev/dcssblk0; mount /dev/dcssblk0 /mnt; echo text > /mnt/file")
    assert sh(disks, "mke2fs /dev/dcssblk0").err == "mke2fs: /dev/dcssblk0: Device or resource busy\n"
    assert out(disks, "cat /mnt/file") == b"text\n"

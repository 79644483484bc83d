"""docs/facts.md, section 5: what mount options do, with the kernel's messages; the row's name is its id there."""

from collections.abc import Iterator
from errno import EACCES, EBUSY, EINVAL, EIO, EROFS
from pathlib import Path
from typing import NamedTuple

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from tree_support import make_tree, mke2fs

from dcss.errors import KernelError
from vmguest.block.dcssblk import DcssblkDevice
from vmguest.fs.do_mount import do_remount
from vmguest.fs.ext2fs import Ext2FileSystem
from vmguest.fs.options import parse_options
from vmguest.kernel import Kernel
from vmguest.workload import map_files

pytestmark = needs("mke2fs")

SEGMENTS = {  # a disk of each kind: what cannot be written, what can, what is not 2 MiB long, 1024-byte blocks
    "RO": "20200-209FF SR",  # at an odd multiple of 2 MiB
    "RW": "30000-307FF SW",
    "ODD": "40100-408FF SR",
    "SMALL": "50000-507FF SR",
}
DISK = {name: f"dcssblk{number}" for number, name in enumerate(SEGMENTS)}


@pytest.fixture
def kernel(control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    make_tree(tmp_path / "tree")
    for name, words in SEGMENTS.items():
        image = mke2fs(tmp_path / "tree", tmp_path / name, block_size_bytes=1024 if name == "SMALL" else 4096)
        control_program.publish(definition(name, words), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module(",".join(SEGMENTS))
        yield kernel


class Mounted(NamedTuple):
    """A mount that goes well: options asked for, those in force, and the lines of the log that it adds."""

    fact: str
    segment: str
    asked: str
    in_force: str
    log: tuple[str, ...] = ()


DAX = "EXT2-fs ({}): DAX enabled. Warning: EXPERIMENTAL, use at your own risk"
NO_DAX = "EXT2-fs ({}): DAX unsupported by block device. Turning off DAX."

MOUNTED = (
    Mounted("5-option-xip", "RO", "ro,xip", "ro,xip"),
    Mounted("5-without-xip", "RO", "ro", "ro"),
    Mounted("5-option-dax", "RO", "ro,dax", "ro,dax", (DAX,)),
    Mounted("5-dax-unaligned", "ODD", "ro,dax", "ro", (DAX, NO_DAX)),
    Mounted("5-xip-unaligned", "ODD", "ro,xip", "ro,xip"),
    Mounted("5-write-protected", "RO", "xip", "ro,xip", ("mount: /dev/{}: write-protected, mounting read-only",)),
    Mounted("5-rw", "RW", "rw,xip", "rw,xip"),
    Mounted("5-rw-is-the-default", "RW", "xip", "rw,xip"),
    Mounted("5-rw-copied", "RW", "rw", "rw"),
    Mounted("5-flags", "RO", "ro,nosuid,nodev,noexec,noatime,xip", "ro,noatime,nodev,noexec,nosuid,xip"),
    Mounted("5-later-wins", "RO", "rw,nodev,ro,dev,xip", "ro,xip"),
    Mounted(
        "5-without-effect",
        "RO",
        "ro,defaults,errors=remount-ro,user_xattr,noacl,resuid=7,xip",
        "ro,errors=remount-ro,resuid=7,xip",
    ),
)


@pytest.mark.parametrize("case", MOUNTED, ids=lambda case: case.fact)
def test_mounts_that_go_well(kernel: Kernel, case: Mounted) -> None:
    before = len(kernel.log.messages())
    mount = kernel.mount(DISK[case.segment], "/mnt", tuple(case.asked.split(",")))
    assert ",".join(mount.options) == case.in_force
    assert kernel.log.messages()[before:] == [line.format(DISK[case.segment]) for line in case.log]
    libone = kernel.vfs.resolve(b"/mnt/usr/lib/libone.so.1")
    assert isinstance(libone.mount.file_system, Ext2FileSystem)
    map_files(kernel.init, "/mnt/usr/lib/libone.so.1")
    copies = kernel.counters().page_cache_bytes
    assert (copies == 0) == ("xip" in case.in_force or "dax" in case.in_force)


class Refused(NamedTuple):
    """A mount that fails, with its errno and its last line in the log, None for no line."""

    fact: str
    segment: str
    asked: str
    errno: int
    log: str | None


REFUSED = (
    Refused("5-rw-on-read-only", "RO", "rw,xip", EACCES, None),
    Refused("5-unknown", "RO", "ro,fast", EINVAL,
            'EXT2-fs ({}): error: unrecognized mount option "fast" or missing value'),
    Refused("5-missing-value", "RO", "ro,errors=", EINVAL,
            'EXT2-fs ({}): error: unrecognized mount option "errors=" or missing value'),
    Refused("5-xip-blocksize", "SMALL", "ro,xip", EINVAL, "EXT2-fs ({}): error: unsupported blocksize for xip"),
    Refused("5-dax-blocksize", "SMALL", "ro,dax", EINVAL, "EXT2-fs ({}): error: unsupported blocksize for dax"),
    Refused("5-xip-blocksize-silent", "SMALL", "ro,xip,silent", EINVAL, None),
    Refused("5-boot-bind", "RO", "ro,bind", EINVAL, None),
)  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.fact)
def test_mounts_that_are_refused(kernel: Kernel, case: Refused) -> None:
    before, free_bytes = len(kernel.log.messages("err")), kernel.machine.storage.free_bytes
    with pytest.raises(KernelError) as caught:
        kernel.mount(DISK[case.segment], "/mnt", tuple(case.asked.split(",")))
    assert caught.value.errno == case.errno
    assert kernel.log.messages("err")[before:] == ([] if case.log is None else [case.log.format(DISK[case.segment])])
    assert kernel.machine.storage.free_bytes == free_bytes
    kernel.dcssblk.remove(case.segment)  # nothing holds the disk


class Remounted(NamedTuple):
    """A remount: what it asks for, the options in force afterwards, its errno (0 for none), and its line in the log."""

    fact: str
    first: str
    asked: str
    in_force: str
    errno: int = 0
    log: str | None = None


REFUSING = "EXT2-fs (dcssblk1): warning: refusing change of {} flag with busy inodes while remounting"

REMOUNTED = (
    Remounted("5-remount-xip", "ro", "remount,ro,xip", "ro", 0, REFUSING.format("xip")),
    Remounted("5-remount-dax", "ro,xip", "remount,dax", "ro,xip", 0, REFUSING.format("dax")),
    Remounted("5-remount-same", "ro,xip", "remount,ro,xip", "ro,xip"),
    Remounted("5-remount-keeps-xip", "ro,xip", "remount,ro", "ro,xip"),
    Remounted("5-remount-flags", "ro,xip,nodev", "remount,ro,noexec", "ro,noexec,xip"),
    Remounted("5-remount-unknown", "ro,xip", "remount,fast", "ro,xip", EINVAL,
              'EXT2-fs (dcssblk1): error: unrecognized mount option "fast" or missing value'),
    Remounted("5-remount-rw", "ro,xip", "remount,rw", "rw,xip"),
    Remounted("5-remount-ro", "rw,xip", "remount,ro", "ro,xip"),
    Remounted("5-remount-rw-copied", "ro", "remount,rw", "rw"),
)  # fmt: skip


@pytest.mark.parametrize("case", REMOUNTED, ids=lambda case: case.fact)
def test_remounts(kernel: Kernel, case: Remounted) -> None:
    mount = kernel.mount(DISK["RW"], "/mnt", tuple(case.first.split(",")))
    before = len(kernel.log.messages())
    at = kernel.vfs.resolve(b"/mnt")
    errno = 0
    try:
        do_remount(kernel.vfs, at, parse_options(case.asked.split(",")))
    except KernelError as error:
        errno = error.errno or 0
    assert (errno, ",".join(mount.options)) == (case.errno, case.in_force)
    lines = [line for line in kernel.log.messages()[before:] if "DAX enabled" not in line]
    assert lines == ([] if case.log is None else [case.log])


def test_5_remount_rw_of_a_read_only_disk(kernel: Kernel) -> None:
    kernel.mount(DISK["RO"], "/mnt", ("ro", "xip"))
    with pytest.raises(KernelError) as caught:
        do_remount(kernel.vfs, kernel.vfs.resolve(b"/mnt"), parse_options(["remount", "rw"]))
    assert caught.value.errno == EACCES


def test_5_remount_rw_of_features_that_cannot_be_written(
    control_program: BlockingCp, kernel: Kernel, tmp_path: Path
) -> None:
    image = bytearray(mke2fs(tmp_path / "tree", tmp_path / "features"))
    image[1024 + 100] |= 0x8  # s_feature_ro_compat: HUGE_FILE
    control_program.publish(definition("NEWER", "60000-607FF SW"), fill_with(bytes(image)))
    kernel.dcssblk.add("NEWER")
    kernel.mount("dcssblk4", "/mnt", ("ro", "xip"))
    with pytest.raises(KernelError) as caught:
        do_remount(kernel.vfs, kernel.vfs.resolve(b"/mnt"), parse_options(["remount", "rw"]))
    assert caught.value.errno == EROFS
    assert kernel.log.messages("warn")[-1] == (
        "EXT2-fs (dcssblk4): warning: couldn't remount RDWR because of unsupported optional features (8)."
    )


def test_5_remount_of_a_place_that_is_none(kernel: Kernel) -> None:
    kernel.mount(DISK["RO"], "/mnt", ("ro", "xip"))
    with pytest.raises(KernelError) as caught:
        do_remount(kernel.vfs, kernel.vfs.resolve(b"/mnt/usr"), parse_options(["remount", "ro"]))
    assert caught.value.errno == EINVAL


def test_5_remount_blocksize(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a disk that takes smaller transfers than dcssblk can hold such blocks."""
    monkeypatch.setattr(DcssblkDevice, "logical_block_size_bytes", 512)
    kernel.mount(DISK["SMALL"], "/mnt", ("ro",))
    with pytest.raises(KernelError) as caught:
        do_remount(kernel.vfs, kernel.vfs.resolve(b"/mnt"), parse_options(["remount", "xip"]))
    assert caught.value.errno == EINVAL
    assert kernel.log.messages("warn")[-1] == "EXT2-fs (dcssblk3): warning: unsupported blocksize for xip"


def test_5_xip_without_direct_access(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DcssblkDevice, "direct_accessible", False)
    mount = kernel.mount(DISK["RO"], "/mnt", ("ro", "xip"))
    assert mount.options == ("ro",)
    assert kernel.log.messages("warn")[-1] == (
        "EXT2-fs (dcssblk0): warning: ignoring xip option - not supported by bdev"
    )
    do_remount(kernel.vfs, kernel.vfs.resolve(b"/mnt"), parse_options(["remount", "ro", "xip"]))
    assert mount.options == ("ro",)


def test_5_one_file_system_for_all_mounts_of_a_disk(kernel: Kernel) -> None:
    first = kernel.mount(DISK["RO"], "/first", ("ro", "xip"))
    second = kernel.mount(DISK["RO"], "/second", ("ro",))
    assert second.file_system is first.file_system
    assert second.options == ("ro", "xip")
    assert kernel.log.messages("info")[-1] == "EXT2-fs (dcssblk0): mounted already, with ro,xip: its options stay"
    kernel.vfs.umount(b"/first")
    with pytest.raises(KernelError) as caught:
        kernel.dcssblk.remove("RO")
    assert caught.value.errno == EBUSY
    assert kernel.vfs.resolve(b"/second/usr/lib/libone.so.1").inode.is_regular
    kernel.vfs.umount(b"/second")
    kernel.dcssblk.remove("RO")


def test_a_disk_that_cannot_be_read_costs_no_storage(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise KernelError(EIO, "no such sector")

    kernel.vfs.populate()
    free_bytes = kernel.machine.storage.free_bytes
    monkeypatch.setattr(DcssblkDevice, "read", refuse)
    with pytest.raises(KernelError):
        kernel.mount(DISK["RO"], "/mnt", ("ro",))
    assert kernel.machine.storage.free_bytes == free_bytes


def test_statfs_counts_metadata_with_minixdf_only_and_never_less_than_nothing(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted(option: str) -> Ext2FileSystem:
        file_system = kernel.mount(DISK["RO"], f"/mnt/{option}", ("ro", option)).file_system
        assert isinstance(file_system, Ext2FileSystem)
        return file_system

    usual = mounted("bsddf")
    volume, found = usual.volume, usual.statfs()
    block = volume.superblock
    assert found.blocks == block.s_blocks_count - volume.overhead_blocks() < block.s_blocks_count
    for reserved, available in ((1, found.free_blocks - 1), (found.free_blocks, 0), (found.free_blocks + 1, 0)):
        with monkeypatch.context() as patch:
            patch.setattr(type(volume), "superblock", block._replace(s_r_blocks_count=reserved))
            assert usual.statfs().available_blocks == available
    kernel.vfs.umount(b"/mnt/bsddf")
    assert mounted("minixdf").statfs().blocks == block.s_blocks_count

"""A ramdisk and an mtd over other disks: their bytes, their storage, and the same tree mounted by every mode."""

import os
from collections.abc import Iterator
from errno import EINVAL, EIO, ENOMEM, EOPNOTSUPP, ERANGE
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.abi.console import FileAccess
from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError, StaleReferenceError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice
from vmguest.block.file import FileDevice, FileDisk, add_file_disks
from vmguest.block.modes import add_device, drop_sources
from vmguest.kernel import Kernel
from vmguest.storage import StorageKind
from vmguest.workload import map_files, read_files

pytestmark = needs("mke2fs")
LIBRARY = "/usr/lib/libone.so.1"
MODES = ("", "ramdisk", "mtd")


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    make_tree(tmp_path / "tree")
    return mke2fs(tmp_path / "tree", tmp_path / "image")


@pytest.fixture
def kernel(control_program: BlockingCp, image: bytes, tmp_path: Path) -> Iterator[Kernel]:
    control_program.publish(definition("LIB", "20000-207FF SR"), fill_with(image))
    descriptor = os.open(tmp_path / "image", os.O_RDONLY)
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("LIB")
        add_file_disks(kernel.block_devices, [FileDisk("vdb", descriptor, False)])
        yield kernel
    os.close(descriptor)


def disk(kernel: Kernel, name: str) -> BlockDevice:
    found = kernel.block_devices.by_name(name)
    assert found is not None
    return found


def add(kernel: Kernel, mode: str, source: str) -> BlockDevice:
    return add_device(mode, disk(kernel, source), kernel.block_devices, kernel.machine, kernel.extmem)


@pytest.mark.parametrize("source", ["dcssblk0", "vdb"])
@pytest.mark.parametrize("mode", ["ramdisk", "mtd"])
def test_it_holds_what_the_disk_below_it_holds(kernel: Kernel, mode: str, source: str, image: bytes) -> None:
    device = add(kernel, mode, source)
    name, number = {"ramdisk": ("ram0", (1, 0)), "mtd": ("mtdblock0", (31, 0))}[mode]
    assert (device.name, device.number, device.read_only, device.size_bytes) == (name, number, True, len(image))
    assert out(kernel, f"cat /dev/{name}") == image
    assert out(kernel, f"cat /sys/block/{name}/size") == b"%d\n" % (len(image) // 512)
    assert f"{len(image) >> 10} {name}\n" in out(kernel, "cat /proc/partitions").decode()


def test_a_ramdisk_keeps_its_pages_and_the_original_can_go(kernel: Kernel, image: bytes) -> None:
    sh(kernel, "ls /dev")  # init writes its files
    free_bytes = kernel.machine.storage.free_bytes
    device = add(kernel, "ramdisk", "dcssblk0")
    assert free_bytes - kernel.machine.storage.free_bytes == len(image)
    assert kernel.counters().buffer_bytes == len(image)
    drop_sources(kernel.block_devices, kernel.dcssblk)
    assert kernel.block_devices.by_name("dcssblk0") is None
    assert kernel.extmem.segments() == []
    assert out(kernel, "cat /dev/ram0") == image
    kernel.block_devices.del_disk(device)
    assert kernel.machine.storage.free_bytes == free_bytes
    assert kernel.counters().buffer_bytes == 0


def test_a_disk_that_is_mounted_is_not_dropped(kernel: Kernel) -> None:
    kernel.mount("dcssblk0", "/mnt", ("ro", "xip"))
    kernel.mount("dcssblk0", "/", ("ro",), "ramdisk")
    drop_sources(kernel.block_devices, kernel.dcssblk)
    assert kernel.block_devices.by_name("dcssblk0") is not None


def test_a_ramdisk_takes_stores_where_its_source_does(control_program: BlockingCp) -> None:
    control_program.publish(definition("RW", "20000-200FF SW"), fill_with(b"before"))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RW")
        add(kernel, "ramdisk", "dcssblk0")
        assert sh(kernel, "echo after > /dev/ram0").status == 0
        assert out(kernel, "cat /dev/ram0")[:6] == b"after\n"
        assert out(kernel, "cat /dev/dcssblk0")[:6] == b"before"


def test_a_ramdisk_that_does_not_fit_is_refused_and_leaves_nothing(control_program: BlockingCp) -> None:
    control_program.publish(definition("BIG", "20000-24FFF SR"), fill_with(b"big"))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("BIG")
        free_bytes = kernel.machine.storage.free_bytes
        with pytest.raises(KernelError, match="give the guest more `storage:`") as caught:
            kernel.mount("dcssblk0", "/", ("ro",), "ramdisk")
        assert caught.value.errno == ENOMEM
        assert kernel.machine.storage.free_bytes == free_bytes
        assert [device.name for device in kernel.block_devices] == ["dcssblk0"]
        assert disk(kernel, "dcssblk0").use_count == 0


@pytest.mark.parametrize("mode", ["ramdisk", "mtd"])
def test_what_cannot_be_mounted_leaves_no_device(control_program: BlockingCp, mode: str) -> None:
    control_program.publish(definition("BAD", "20000-200FF SR"), fill_with(b"no file system"))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("BAD")
        free_bytes = kernel.machine.storage.free_bytes
        with pytest.raises((KernelError, Ext2FormatError)):
            kernel.mount("dcssblk0", "/", ("ro",), mode)
        assert [device.name for device in kernel.block_devices] == ["dcssblk0"]
        assert disk(kernel, "dcssblk0").use_count == 0
        assert kernel.machine.storage.free_bytes == free_bytes


def test_an_mtd_refers_to_the_segments_own_pages_and_keeps_its_device(kernel: Kernel) -> None:
    device = add(kernel, "mtd", "dcssblk0")
    handle = device.open()
    access = device.direct_access(handle, SECTORS_PER_PAGE, PAGE_SIZE)
    assert access.page_frame == 0x20001
    assert disk(kernel, "dcssblk0").use_count == 1
    device.release(handle)
    with pytest.raises(StaleReferenceError):
        access.view()
    kernel.block_devices.del_disk(device)
    assert disk(kernel, "dcssblk0").use_count == 0


def test_an_mtd_over_a_file_lies_above_all_segments_and_gives_its_addresses_back(kernel: Kernel, image: bytes) -> None:
    before = out(kernel, "cat /proc/iomem")
    device = add(kernel, "mtd", "vdb")
    assert b"7fff800000-7fffffffff : mtd vdb\n" in out(kernel, "cat /proc/iomem")
    second = add(kernel, "mtd", "vdb")
    assert b"7fff000000-7fff7fffff : mtd vdb\n" in out(kernel, "cat /proc/iomem")
    handle = device.open()
    access = device.direct_access(handle, 0, device.size_bytes)
    assert kernel.machine.kind_of(access.page_frame) is StorageKind.SEGMENT
    assert bytes(access.view()) == image
    device.release(handle)
    for each in (device, second):
        kernel.block_devices.del_disk(each)
    assert out(kernel, "cat /proc/iomem") == before


def test_an_mtd_over_one_page_takes_nothing_with_it(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"x" * PAGE_SIZE)
    descriptor = os.open(tmp_path / "page", os.O_RDONLY)
    kernel.block_devices.add_disk(FileDevice(1, FileDisk("vdc", descriptor, False)))
    before = list(kernel.machine._attached)
    device = add(kernel, "mtd", "vdc")
    assert len(kernel.machine._attached) == len(before) + 1
    kernel.block_devices.del_disk(device)
    assert kernel.machine._attached == before
    os.close(descriptor)


@pytest.mark.parametrize(
    ("sector", "size_bytes", "errno"),
    [(1, PAGE_SIZE, EINVAL), (-8, PAGE_SIZE, ERANGE), (0, 0, ERANGE), (0, (8 << 20) + 1, ERANGE)],
)
def test_an_mtd_gives_references_inside_it_only(kernel: Kernel, sector: int, size_bytes: int, errno: int) -> None:
    device = add(kernel, "mtd", "vdb")
    with pytest.raises(KernelError) as caught:
        device.direct_access(device.open(), sector, size_bytes)
    assert caught.value.errno == errno


def test_an_mtd_takes_no_store(control_program: BlockingCp) -> None:
    control_program.publish(definition("RW", "20000-200FF SW"), fill_with(b"before"))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RW")
        device = add(kernel, "mtd", "dcssblk0")
        address = kernel.machine.storage.address(kernel.machine.storage.allocate(1))
        with pytest.raises(KernelError) as caught:
            device.write(device.open(), 0, address, PAGE_SIZE)
        assert caught.value.errno == EIO


def test_a_ramdisk_has_no_addressable_storage_of_its_own_device(kernel: Kernel) -> None:
    add(kernel, "ramdisk", "dcssblk0")
    with pytest.raises(KernelError, match="cannot be addressed") as caught:
        add(kernel, "mtd", "ram0")
    assert caught.value.errno == EOPNOTSUPP


@pytest.mark.parametrize("source", ["dcssblk0", "vdb"])
@pytest.mark.parametrize("mode", MODES)
def test_the_same_tree_by_every_mode(kernel: Kernel, mode: str, source: str, tmp_path: Path) -> None:
    options = ("ro", "xip") if mode == "mtd" else ("ro",)
    kernel.mount(source, "/", options, mode)
    content = (tmp_path / "tree" / LIBRARY[1:]).read_bytes()
    assert out(kernel, f"cat {LIBRARY}") == content
    assert map_files(kernel.init, LIBRARY) == 1
    (area,) = kernel.init.mm.areas
    pages = hostmem.pages(len(content))
    assert kernel.init.mm.read(area.address, len(content)) == content
    copied = kernel.counters().page_cache_bytes
    assert copied == (0 if mode == "mtd" else pages * PAGE_SIZE)
    wanted = mode or "page-cache"
    assert kernel.access == [FileAccess(source, "/", wanted, wanted)]


def test_xip_falls_back_on_a_disk_that_cannot_be_addressed_and_says_so(kernel: Kernel) -> None:
    kernel.mount("vdb", "/", ("ro", "xip"))
    kernel.mount("dcssblk0", "/usr", ("ro", "xip"))
    assert kernel.access == [
        FileAccess("vdb", "/", "xip", "page-cache"),
        FileAccess("dcssblk0", "/usr", "xip", "xip"),
    ]
    assert kernel.log.messages("warn") == ["EXT2-fs (vdb): warning: ignoring xip option - not supported by bdev"]
    assert read_files(kernel.init, "/usr" + LIBRARY) > 0
    assert kernel.counters().page_cache_bytes == 0

"""Disks on files of the host: transfers, their end, read-only and writable ones, and where a guest sees them."""

import os
from collections.abc import Iterator
from errno import EACCES, EINVAL, EIO, EROFS
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError, StaleReferenceError
from vmguest import hostmem
from vmguest.block.device import SECTORS_PER_PAGE, BlockDevice
from vmguest.block.file import FileDisk, add_file_disks
from vmguest.fs.options import parse_options
from vmguest.kernel import Kernel
from vmguest.workload import map_files

SIZE_BYTES = 5 * PAGE_SIZE + 1024 + 100  # the last sector is not whole, and the last page neither
CONTENT = b"".join(b"%07d\n" % number for number in range(SIZE_BYTES // 8 + 1))[:SIZE_BYTES]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def kernel(control_program: BlockingCp, path: Path) -> Iterator[Kernel]:
    readable, writable = os.open(path, os.O_RDONLY), os.open(path, os.O_RDWR)
    with guest_kernel(control_program) as kernel:
        add_file_disks(kernel.block_devices, [FileDisk("vda", readable, False), FileDisk("vdb", writable, True)])
        yield kernel
    os.close(readable)
    os.close(writable)


def disk(kernel: Kernel, name: str) -> BlockDevice:
    found = kernel.block_devices.by_name(name)
    assert found is not None
    return found


def buffer(kernel: Kernel, pages: int) -> tuple[int, memoryview]:
    address = kernel.machine.storage.address(kernel.machine.storage.allocate(pages))
    return address, hostmem.view(address, pages * PAGE_SIZE)


def test_it_has_the_sectors_of_its_file(kernel: Kernel) -> None:
    device = disk(kernel, "vda")
    assert (device.size_bytes, device.read_only, device.direct_accessible) == (5 * PAGE_SIZE + 1024, True, False)
    assert not disk(kernel, "vdb").read_only
    address, view = buffer(kernel, 6)
    view[:] = b"x" * len(view)
    handle = device.open()
    device.read(handle, 0, address, 6 * PAGE_SIZE)
    assert bytes(view[: device.size_bytes]) == CONTENT[: device.size_bytes]
    assert not any(view[device.size_bytes :])
    device.read(handle, 2 * SECTORS_PER_PAGE, address, PAGE_SIZE)
    assert bytes(view[:PAGE_SIZE]) == CONTENT[2 * PAGE_SIZE : 3 * PAGE_SIZE]


@pytest.mark.parametrize(("sector", "pages"), [(1, 1), (6 * SECTORS_PER_PAGE, 1), (5 * SECTORS_PER_PAGE, 2), (-8, 1)])
def test_a_transfer_off_a_page_or_beyond_the_end_is_an_error(kernel: Kernel, sector: int, pages: int) -> None:
    device = disk(kernel, "vdb")
    handle, (address, _) = device.open(), buffer(kernel, pages)
    for move in (device.read, device.write):
        with pytest.raises(KernelError) as caught:
            move(handle, sector, address, pages * PAGE_SIZE)
        assert caught.value.errno == EIO


def test_what_is_written_is_in_the_file_and_nothing_behind_the_last_sector(kernel: Kernel, path: Path) -> None:
    device = disk(kernel, "vdb")
    handle, (address, view) = device.open(), buffer(kernel, 2)
    view[:] = b"w" * len(view)
    device.write(handle, 4 * SECTORS_PER_PAGE, address, 2 * PAGE_SIZE)
    start = 4 * PAGE_SIZE
    assert path.read_bytes() == CONTENT[:start] + b"w" * (PAGE_SIZE + 1024) + CONTENT[device.size_bytes :]
    device.release(handle)
    with pytest.raises(StaleReferenceError):
        device.read(handle, 0, address, PAGE_SIZE)


def test_a_read_only_disk_takes_no_write_by_any_way(kernel: Kernel, path: Path) -> None:
    device = disk(kernel, "vda")
    handle, (address, _) = device.open(), buffer(kernel, 1)
    with pytest.raises(KernelError, match="writable: true") as caught:
        device.write(handle, 0, address, PAGE_SIZE)
    assert caught.value.errno == EIO
    with pytest.raises(OSError, match="Bad file descriptor"):  # not even past the driver
        os.pwrite(device._descriptor, b"x", 0)  # type: ignore[attr-defined]
    assert path.read_bytes() == CONTENT


def test_sync_brings_what_was_written_to_the_hosts_disk(
    control_program: BlockingCp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path / "tree")
    mke2fs(tmp_path / "tree", tmp_path / "image")
    descriptor = os.open(tmp_path / "image", os.O_RDWR)
    with guest_kernel(control_program) as kernel:
        add_file_disks(kernel.block_devices, [FileDisk("vdb", descriptor, True)])
        kernel.mount("vdb", "/", ("rw",))
        assert sh(kernel, "echo hello > /hello").status == 0
        synced: list[bytes] = []
        monkeypatch.setattr(os, "fdatasync", lambda number: synced.append(os.pread(number, 1 << 30, 0)))
        assert sh(kernel, "sync").status == 0
        assert b"hello\n" in synced[-1]
    os.close(descriptor)


def test_a_file_that_was_cut_short_is_an_error_and_no_zeros(kernel: Kernel, path: Path) -> None:
    os.truncate(path, PAGE_SIZE)
    device = disk(kernel, "vda")
    handle, (address, _) = device.open(), buffer(kernel, 2)
    with pytest.raises(KernelError, match="its file ends at 4096") as caught:
        device.read(handle, 0, address, 2 * PAGE_SIZE)
    assert caught.value.errno == EIO


def test_dev_sys_and_proc_know_it(kernel: Kernel) -> None:
    assert out(kernel, "ls /dev") == b"null\nvda\nvdb\n"
    assert out(kernel, "cat /dev/vdb") == CONTENT[: 5 * PAGE_SIZE + 1024]
    assert sh(kernel, "cat /sys/block/vda/ro /sys/block/vdb/ro /sys/block/vdb/size").lines == ["1", "0", "42"]
    assert out(kernel, "cat /proc/partitions").decode().split() == [
        *("major", "minor", "#blocks", "name"),
        *("253", "0", "21", "vda"),
        *("253", "1", "21", "vdb"),
    ]
    assert b"253 file\n" in out(kernel, "cat /proc/devices")


def test_ext2_is_read_from_it_and_xip_is_ignored_with_the_kernels_warning(
    control_program: BlockingCp, tmp_path: Path
) -> None:
    make_tree(tmp_path / "tree")
    mke2fs(tmp_path / "tree", tmp_path / "image")
    descriptor = os.open(tmp_path / "image", os.O_RDONLY)
    with guest_kernel(control_program) as kernel:
        add_file_disks(kernel.block_devices, [FileDisk("vdb", descriptor, False)])
        with pytest.raises(KernelError) as caught:
            kernel.mount("vdb", "/", ("rw",))
        assert caught.value.errno == EACCES
        kernel.mount("vdb", "/", ("ro", "xip"))
        assert kernel.log.messages("warn") == ["EXT2-fs (vdb): warning: ignoring xip option - not supported by bdev"]
        library = out(kernel, "cat /usr/lib/libone.so.1")
        assert library == (tmp_path / "tree/usr/lib/libone.so.1").read_bytes()
        assert kernel.counters().page_cache_bytes >= len(library)
    os.close(descriptor)


@pytest.mark.parametrize("block_size_bytes", [1024, 2048])
def test_blocks_smaller_than_a_page_are_read_and_not_written(
    control_program: BlockingCp, tmp_path: Path, block_size_bytes: int
) -> None:
    make_tree(tmp_path / "tree")
    (tmp_path / "tree" / "sparse").write_bytes(b"a" * 1500)
    with (tmp_path / "tree" / "sparse").open("r+b") as sparse:
        sparse.seek(9000)
        sparse.write(b"b" * 3000)
    mke2fs(tmp_path / "tree", tmp_path / "image", block_size_bytes=block_size_bytes)
    names = [path.relative_to(tmp_path / "tree") for path in (tmp_path / "tree").rglob("*") if path.is_file()]
    descriptor = os.open(tmp_path / "image", os.O_RDWR)
    with guest_kernel(control_program) as kernel:
        add_file_disks(kernel.block_devices, [FileDisk("vdb", descriptor, True)])
        found = f"blocks of {block_size_bytes} bytes are read only"
        with pytest.raises(KernelError, match=f"{found}.*mke2fs -b 4096") as caught:
            kernel.mount("vdb", "/", ("rw",))
        assert caught.value.errno == EROFS
        # xip wants blocks of a page, but not where the device cannot do it: then there is no xip.
        mount = kernel.mount("vdb", "/", ("xip",))
        assert mount.file_system.options == ("ro",)
        assert any("ignoring xip option" in line for line in kernel.log.messages("warn"))
        assert any(found in line for line in kernel.log.messages("warn"))
        for name in names:
            assert out(kernel, f"cat '/{name}'") == (tmp_path / "tree" / name).read_bytes()
        for name in names:
            map_files(kernel.init, f"/{name}")
        with pytest.raises(KernelError) as caught:
            mount.file_system.remount(parse_options(["rw"]))
        assert caught.value.errno == EROFS
    os.close(descriptor)


def test_two_disks_of_one_name_are_refused(control_program: BlockingCp, path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    with guest_kernel(control_program) as kernel, pytest.raises(KernelError) as caught:
        add_file_disks(kernel.block_devices, [FileDisk("vdb", descriptor, False)] * 2)
    assert caught.value.errno == EINVAL
    os.close(descriptor)

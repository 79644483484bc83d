"""Registries: disks and file systems of a new kind show wherever those that the kernel brings along show."""

from collections.abc import Iterator
from errno import EBUSY, ENODEV, EOPNOTSUPP

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel
from shell_support import out, sh

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.block.device import BlockDevice, DeviceHandle
from vmguest.fs.filesystem_types import FileSystemType
from vmguest.fs.tmpfs import TmpfsFileSystem
from vmguest.kernel import Kernel


class EmptyDisk(BlockDevice):
    """A disk without direct access, as a file or a ramdisk is one."""

    def read(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        handle.check()
        self.check_request(sector, size_bytes)

    def write(self, handle: DeviceHandle, sector: int, address: int, size_bytes: int) -> None:
        self.read(handle, sector, address, size_bytes)


@pytest.fixture
def kernel(control_program: BlockingCp) -> Iterator[Kernel]:
    with guest_kernel(control_program) as kernel:
        yield kernel


def refused(errno: int) -> pytest.RaisesExc[KernelError]:
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def test_a_disk_of_a_new_driver_shows_wherever_disks_are_listed(kernel: Kernel) -> None:
    disk = EmptyDisk("ram0", (1, 0), 8 * PAGE_SIZE, read_only=False)
    kernel.block_devices.register_blkdev(1, "ramdisk")
    kernel.block_devices.add_disk(disk)
    assert b"  1 ramdisk\n" in out(kernel, "cat /proc/devices")
    assert out(kernel, "cat /sys/block/ram0/dev /sys/block/ram0/ro /sys/block/ram0/size") == b"1:0\n0\n64\n"
    assert out(kernel, "stat -c %F /dev/ram0") == b"block special file\n"
    assert out(kernel, "wc -c /dev/ram0") == b"32768 /dev/ram0\n"
    assert disk.use_count == 0
    kernel.block_devices.del_disk(disk)
    assert sh(kernel, "ls /dev/ram0").status != 0
    assert kernel.block_devices.by_name("ram0") is None
    with refused(ENODEV):
        disk.open()


def test_numbers_are_given_once(kernel: Kernel) -> None:
    kernel.block_devices.register_blkdev(1, "ramdisk")
    with refused(EBUSY):
        kernel.block_devices.register_blkdev(1, "other")
    kernel.block_devices.add_disk(EmptyDisk("ram0", (1, 0), PAGE_SIZE, read_only=False))
    with refused(EBUSY):
        kernel.block_devices.add_disk(EmptyDisk("ram1", (1, 0), PAGE_SIZE, read_only=False))


def test_direct_access_is_optional(kernel: Kernel) -> None:
    disk = EmptyDisk("ram0", (1, 0), PAGE_SIZE, read_only=False)
    assert not disk.direct_accessible
    assert not disk.dax_supported
    with refused(EOPNOTSUPP):
        disk.direct_access(disk.open(), 0, PAGE_SIZE)


def test_a_file_system_of_a_new_type_is_mounted_and_listed(kernel: Kernel) -> None:
    storage = kernel.machine.storage
    kernel.vfs.types.register(FileSystemType("ramfs", lambda *_: TmpfsFileSystem(storage, "ramfs", 99)))
    assert out(kernel, "cat /proc/filesystems").endswith(b"\text2\nnodev\tramfs\n")
    assert out(kernel, "mount -t ramfs none /mnt; echo x > /mnt/x; cat /mnt/x") == b"x\n"
    assert b"none /mnt ramfs rw 0 0\n" in out(kernel, "cat /proc/mounts")
    with refused(EBUSY):
        kernel.vfs.types.register(FileSystemType("ramfs", lambda *_: TmpfsFileSystem(storage, "ramfs", 99)))
    with refused(ENODEV):
        kernel.vfs.types.get("xfs")


def test_tasks_have_directories_files_and_memory_of_their_own(kernel: Kernel) -> None:
    out(kernel, "mkdir /mnt/d; mount -t tmpfs none /mnt/d; echo text > /mnt/d/f")
    task = kernel.new_task(kernel.vfs.resolve(b"/mnt/d"))
    number = task.files.open(b"f", start=task.directory)
    address = task.mmap(number, 0, 1)
    task.files.close(number)
    assert task.mm.read(address, 5) == b"text\n"
    assert kernel.init.mm.find(address) is None
    assert kernel.init.directory == kernel.vfs.root()
    with refused(EBUSY):  # the working directory and the mapping keep it mounted
        kernel.vfs.umount(b"/mnt/d")
    kernel.end_task(task)
    kernel.vfs.umount(b"/mnt/d")
    assert kernel.tasks == [kernel.init]

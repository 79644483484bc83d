"""dcssblk through its sysfs: what an administrator writes and reads (FACTS section 4)."""

import stat
from collections.abc import Iterator
from errno import EACCES, EBUSY, EEXIST, EINVAL, ENAMETOOLONG, ENODEV, ENOENT, EPERM

import pytest
from cp_support import BlockingCp
from guest_support import WRITE, definition, fill_with, guest_kernel

from dcss.errors import KernelError
from vmguest.block.dcssblk_sysfs import flag_of
from vmguest.fs.namei import mkdir
from vmguest.fs.open import open_file
from vmguest.kernel import Kernel


@pytest.fixture
def kernel(control_program: BlockingCp) -> Iterator[Kernel]:
    for name, words in (("LIB", "20000-200FF SR"), ("MORE", "20100-201FF SR"), ("MON", "30000-300FF SC")):
        control_program.publish(definition(name, words), fill_with(name.encode()))
    with guest_kernel(control_program) as kernel:
        yield kernel


def echo(kernel: Kernel, text: str, path: str) -> None:
    with open_file(kernel.vfs, f"/sys/devices/dcssblk/{path}".encode(), WRITE) as file:
        file.write(f"{text}\n".encode())


def cat(kernel: Kernel, path: str) -> str:
    buffer = memoryview(bytearray(100))
    with open_file(kernel.vfs, path.encode()) as opened:
        return bytes(buffer[: opened.file.read(0, buffer)]).decode()


def refused(errno: int) -> pytest.RaisesExc[KernelError]:
    return pytest.raises(KernelError, check=lambda error: error.errno == errno)


def test_add_makes_a_device_with_its_attributes(kernel: Kernel) -> None:
    echo(kernel, "lib:more", "add")
    modes = {
        dentry.path.rpartition(b"/")[2]: stat.S_IMODE(dentry.inode.mode)
        for dentry in kernel.vfs.children(kernel.vfs.resolve(b"/sys/devices/dcssblk/LIB"))
    }
    assert modes == {b"block": 0o777, b"save": 0o600, b"seglist": 0o400, b"shared": 0o600}
    assert cat(kernel, "/sys/devices/dcssblk/LIB/seglist") == "LIB\nMORE\n"
    assert cat(kernel, "/sys/devices/dcssblk/LIB/shared") == "1\n"
    assert cat(kernel, "/sys/devices/dcssblk/LIB/save") == "0\n"
    link = kernel.vfs.resolve(b"/sys/devices/dcssblk/LIB/block", follow=False)
    assert link.mount.file_system.readlink(link.inode).endswith(b"/dcssblk0")
    assert kernel.vfs.resolve(b"/sys/devices/dcssblk/LIB/block").path == b"/sys/block/dcssblk0"
    assert cat(kernel, "/sys/block/dcssblk0/size") == "4096\n"
    assert cat(kernel, "/sys/block/dcssblk0/ro") == "1\n"


def test_minor_numbers_are_the_lowest_free(kernel: Kernel) -> None:
    for name in ("LIB", "MORE", "MON"):
        echo(kernel, name, "add")
    echo(kernel, "MORE", "remove")
    with refused(ENOENT):
        kernel.vfs.resolve(b"/sys/devices/dcssblk/MORE")
    echo(kernel, "MORE", "add")
    assert kernel.vfs.resolve(b"/sys/devices/dcssblk/MORE/block").path == b"/sys/block/dcssblk1"


@pytest.mark.parametrize(
    ("text", "path", "errno"),
    [
        ("", "add", ENAMETOOLONG),
        ("NOSUCH", "add", ENOENT),
        ("LIB", "add", EEXIST),
        ("MORE", "remove", ENODEV),
        ("2", "LIB/shared", EINVAL),
        ("10", "LIB/shared", EINVAL),
        ("x", "LIB/save", EINVAL),
        ("0", "MON/shared", EINVAL),
        ("x", "LIB/seglist", EACCES),
    ],
)
def test_writes_that_fail(kernel: Kernel, text: str, path: str, errno: int) -> None:
    echo(kernel, "LIB", "add")
    echo(kernel, "MON", "add")
    with refused(errno):
        echo(kernel, text, path)
    assert cat(kernel, "/sys/devices/dcssblk/LIB/shared") == "1\n"


def test_shared_and_save_of_a_busy_device(kernel: Kernel) -> None:
    echo(kernel, "LIB", "add")
    device = kernel.dcssblk.devices[0]
    opened = device.open()
    for path in ("LIB/shared", "remove"):
        with refused(EBUSY):
            echo(kernel, "0" if path != "remove" else "LIB", path)
    echo(kernel, "1", "LIB/save")
    assert cat(kernel, "/sys/devices/dcssblk/LIB/save") == "1\n"
    echo(kernel, "0", "LIB/save")
    assert cat(kernel, "/sys/devices/dcssblk/LIB/save") == "0\n"
    device.release(opened)
    echo(kernel, "0", "LIB/shared")
    assert cat(kernel, "/sys/devices/dcssblk/LIB/shared") == "0\n"
    assert cat(kernel, "/sys/block/dcssblk0/ro") == "0\n"


def test_add_and_remove_cannot_be_read_and_nothing_else_be_made(kernel: Kernel) -> None:
    with refused(EACCES):
        cat(kernel, "/sys/devices/dcssblk/add")
    with refused(EPERM):
        mkdir(kernel.vfs, b"/sys/devices/mine")
    with refused(EACCES):
        open_file(kernel.vfs, b"/sys/devices/mine", WRITE)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("1\n", True), ("0\n", False), ("0\0", False), ("1\nx", True)]
)
def test_flags(text: str, value: bool) -> None:
    assert flag_of(text) is value

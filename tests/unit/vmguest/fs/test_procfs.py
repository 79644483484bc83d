"""/proc in Linux's formats, true at each open."""

from collections.abc import Iterator
from errno import EINVAL, EISDIR, ENODEV, EROFS
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import WRITE, definition, fill_with, guest_kernel
from needs_support import needs
from tree_support import make_tree, mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.open import open_file
from vmguest.kernel import Kernel
from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.workload import map_files, read_files

pytestmark = needs("mke2fs")


@pytest.fixture
def kernel(control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("MONDCSS", "20000-207FF SR"), fill_with(image))
    control_program.publish(definition("B", "200000-2007FF SR"), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.command_line = "dcssblk.segments=MONDCSS,B"
        kernel.dcssblk.load_module("MONDCSS,B")
        kernel.mount("/dev/dcssblk0", "/", ("ro", "xip"))
        yield kernel


def text(kernel: Kernel, name: str) -> str:
    with open_file(kernel.vfs, b"/proc/" + name.encode()) as opened:
        buffer = memoryview(bytearray(opened.file.size_bytes))
        assert opened.file.read(0, buffer) == len(buffer)
        return bytes(buffer).decode()


def meminfo(kernel: Kernel) -> dict[str, int]:
    lines = [line.split() for line in text(kernel, "meminfo").splitlines()]
    assert all(unit == "kB" for _, _, unit in lines)
    return {name.rstrip(":"): int(size) for name, size, _ in lines}


def test_mounts(kernel: Kernel) -> None:
    assert text(kernel, "mounts").splitlines() == [
        "rootfs / rootfs rw 0 0",
        "/dev/dcssblk0 / ext2 ro,xip 0 0",
        "proc /proc proc ro 0 0",
        "sysfs /sys sysfs rw 0 0",
        "devtmpfs /dev devtmpfs ro 0 0",
        "tmpfs /tmp tmpfs rw 0 0",
    ]
    kernel.vfs.resolve(b"/tmp")
    from vmguest.fs.namei import mkdir

    mkdir(kernel.vfs, b"/tmp/a b\\")
    kernel.mount("dcssblk1", "/tmp/a b\\", ("ro",))
    assert text(kernel, "mounts").splitlines()[-1] == "/dev/dcssblk1 /tmp/a\\040b\\134 ext2 ro 0 0"


def test_iomem_shows_segments_at_their_addresses(kernel: Kernel) -> None:
    assert text(kernel, "iomem") == (
        "00000000-03ffffff : System RAM\n20000000-207fffff : MONDCSS  (DCSS)\n200000000-2007fffff : B        (DCSS)\n"
    )
    kernel.dcssblk.remove("B")
    assert "B        (DCSS)" not in text(kernel, "iomem")


def test_what_does_not_change(kernel: Kernel) -> None:
    assert text(kernel, "cmdline") == "dcssblk.segments=MONDCSS,B\n"
    assert text(kernel, "version").startswith("Linux version 3.13.0-dcss ")
    assert "\text2\n" in text(kernel, "filesystems")
    assert "nodev\tproc\n" in text(kernel, "filesystems")
    assert text(kernel, "devices").endswith("Block devices:\n252 dcssblk\n")


def test_meminfo_counts_copies_and_not_segments(kernel: Kernel) -> None:
    before = meminfo(kernel)
    assert before["MemTotal"] == (64 << 10) - 8  # without the prefix area
    assert (before["Cached"], before["Buffers"], before["AnonPages"]) == (0, 0, 0)
    map_files(kernel.init, "/usr/lib/*.so*")
    assert meminfo(kernel) == before
    kernel.mount("dcssblk1", "/usr", ("ro",))
    read_files(kernel.init, "/usr/usr/lib/libone.so.1")
    after = meminfo(kernel)
    assert after["Cached"] == 1000
    assert after["Buffers"] > 0
    assert before["MemFree"] - after["MemFree"] == after["Cached"] + after["Buffers"]
    address = kernel.init.mmap(None, 0, 3, PROT_READ | PROT_WRITE, shared=False)
    kernel.init.mm.write(address, bytes(3 * PAGE_SIZE))
    assert meminfo(kernel)["AnonPages"] == 12


def test_an_open_file_stays_as_it_was(kernel: Kernel) -> None:
    with open_file(kernel.vfs, b"/proc/iomem") as opened:
        kernel.dcssblk.remove("B")
        buffer = memoryview(bytearray(1000))
        assert b"B        (DCSS)" in bytes(buffer[: opened.file.read(0, buffer)])
        assert opened.file.read(opened.file.size_bytes, buffer) == 0


def test_it_is_read_only_and_has_no_pages(kernel: Kernel) -> None:
    assert kernel.vfs.resolve(b"/proc/meminfo").inode.size_bytes == 0
    assert map_files(kernel.init, "/proc/*") == len(list(kernel.vfs.children(kernel.vfs.resolve(b"/proc"))))
    assert kernel.init.mm.file_pages == 0
    with open_file(kernel.vfs, b"/proc/version") as opened, pytest.raises(KernelError) as caught:
        kernel.init.mm.map(opened, 0, 1)
    assert caught.value.errno == ENODEV
    for call, errno in (
        (lambda: open_file(kernel.vfs, b"/proc/version", WRITE), EROFS),
        (lambda: open_file(kernel.vfs, b"/proc/new", WRITE), EROFS),
        (lambda: open_file(kernel.vfs, b"/proc", WRITE), EISDIR),
        (lambda: kernel.vfs.mounts[-1].file_system.readlink(kernel.vfs.resolve(b"/proc").inode), EINVAL),
    ):
        with pytest.raises(KernelError) as caught:
            call()
        assert caught.value.errno == errno


def test_an_image_of_its_own_with_proc_and_tmp_is_covered(control_program: BlockingCp, tmp_path: Path) -> None:
    for name in ("proc", "tmp"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "from-the-image").touch()
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(mke2fs(tmp_path / "tree", tmp_path / "image")))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        names = [dentry.path for dentry in kernel.vfs.children(kernel.vfs.resolve(b"/"))]
        assert sorted(names) == [b"/lost+found", b"/proc", b"/tmp"]
        assert kernel.vfs.resolve(b"/proc/version").mount.file_system.type_name == "proc"
        names = [dentry.path for dentry in kernel.vfs.children(kernel.vfs.resolve(b"/"))]
        assert sorted(names) == [b"/dev", b"/lost+found", b"/proc", b"/sys", b"/tmp"]
        assert list(kernel.vfs.children(kernel.vfs.resolve(b"/tmp"))) == []


def test_what_the_configuration_mounted_at_tmp_stays(control_program: BlockingCp, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(mke2fs(tmp_path / "tree", tmp_path / "image")))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A")
        kernel.mount("dcssblk0", "/tmp", ("ro", "xip"))
        kernel.vfs.populate()
        assert kernel.vfs.resolve(b"/tmp/usr/lib/notes.txt").mount.file_system.type_name == "ext2"

"""Nodes of devices: /dev, mknod, and a disk's bytes through them."""

from collections.abc import Iterator
from errno import EACCES, EBUSY, EINVAL, EIO, ENOENT, ENOSPC, ENXIO
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs_support import needs
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.devices import WINDOW_PAGES
from vmguest.fs.open import O_RDWR, O_TRUNC, O_WRONLY, FileDescription, open_file
from vmguest.kernel import Kernel

SIZE_BYTES = 100 * PAGE_SIZE
CONTENT = b"".join(b"%08d" % number for number in range(SIZE_BYTES // 8))


@pytest.fixture
def kernel(control_program: BlockingCp) -> Iterator[Kernel]:
    control_program.publish(definition("RO", "20000-20063 SR"), fill_with(CONTENT))
    control_program.publish(definition("RW", "21000-21063 SW"), fill_with(CONTENT))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RO,RW")
        yield kernel


def read_at(opened: FileDescription, position: int, size_bytes: int) -> bytes:
    buffer = memoryview(bytearray(size_bytes))
    return bytes(buffer[: opened.file.read(position, buffer)])


def errno_of(path: bytes, kernel: Kernel, flags: int = 0) -> int | None:
    try:
        open_file(kernel.vfs, path, flags).close()
    except KernelError as error:
        return error.errno
    return None


def test_dev_has_a_node_for_each_disk_while_there_is_one(kernel: Kernel) -> None:
    lines = sh(kernel, "ls -l /dev").lines
    assert [(line.split()[0], line.split()[4:6], line.split()[-1]) for line in lines[1:]] == [
        ("brw-rw----", ["252,", "0"], "dcssblk0"),
        ("brw-rw----", ["252,", "1"], "dcssblk1"),
        ("crw-rw-rw-", ["1,", "3"], "null"),
    ]
    kernel.dcssblk.remove("RO")
    assert out(kernel, "ls /dev") == b"dcssblk1\nnull\n"
    assert errno_of(b"/dev/dcssblk0", kernel) == ENOENT


def test_remounting_what_cannot_be_written_for_writing_is_refused(kernel: Kernel) -> None:
    for place in ("/dev", "/proc"):
        out(kernel, f"mount -o remount,nosuid {place}")
        wanted = f"mount: remounting {place} failed: Read-only file system\n"
        assert sh(kernel, f"mount -o remount,rw {place}").err == wanted
    out(kernel, "mount -o remount,rw /sys")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(position=st.integers(0, SIZE_BYTES + PAGE_SIZE), size_bytes=st.integers(0, 80 * PAGE_SIZE))
def test_reading_gives_the_disks_bytes(kernel: Kernel, position: int, size_bytes: int) -> None:
    with open_file(kernel.vfs, b"/dev/dcssblk0") as opened:
        assert read_at(opened, position, size_bytes) == CONTENT[position : position + size_bytes]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(position=st.integers(0, SIZE_BYTES - 1), size_bytes=st.integers(1, 80 * PAGE_SIZE), byte=st.integers(0, 255))
def test_writing_changes_the_bytes_that_are_written(kernel: Kernel, position: int, size_bytes: int, byte: int) -> None:
    with open_file(kernel.vfs, b"/dev/dcssblk1", O_RDWR | O_TRUNC) as opened:
        before = bytearray(read_at(opened, 0, SIZE_BYTES))
        data = bytes([byte]) * min(size_bytes, SIZE_BYTES - position)
        opened.position = position
        assert opened.write(data) == len(data)
        before[position : position + len(data)] = data
        assert read_at(opened, 0, SIZE_BYTES) == bytes(before)


def test_a_disk_ends_where_it_ends(kernel: Kernel) -> None:
    with open_file(kernel.vfs, b"/dev/dcssblk1", O_WRONLY) as opened:
        opened.position = SIZE_BYTES - 10
        assert opened.write(b"x" * 20) == 10
        with pytest.raises(KernelError) as caught:
            opened.write(b"x")
        assert caught.value.errno == ENOSPC
    with open_file(kernel.vfs, b"/dev/dcssblk1") as opened:
        assert opened.file.size_bytes == SIZE_BYTES
        assert read_at(opened, SIZE_BYTES - 12, 100) == CONTENT[-12:-10] + b"x" * 10
        with pytest.raises(KernelError) as caught:
            opened.file.write(-1, b"x")  # type: ignore[attr-defined]
        assert caught.value.errno == EINVAL


def test_writing_to_a_read_only_segment_is_an_io_error(kernel: Kernel) -> None:
    assert sh(kernel, "echo x > /dev/dcssblk0").err == "echo: write error: Input/output error\n"
    assert kernel.log.messages("warn")[-1] == ("dcssblk: Writing to RO failed because it is a read-only device")
    with open_file(kernel.vfs, b"/dev/dcssblk0", O_WRONLY) as opened, pytest.raises(KernelError) as caught:
        opened.write(b"x")
    assert caught.value.errno == EIO


def test_an_open_node_keeps_its_disk_in_use_and_its_copies_are_counted(kernel: Kernel) -> None:
    kernel.vfs.populate()
    free_bytes = kernel.machine.storage.free_bytes
    with open_file(kernel.vfs, b"/dev/dcssblk1") as opened:
        with pytest.raises(KernelError) as caught:
            kernel.dcssblk.remove("RW")
        assert caught.value.errno == EBUSY
        assert kernel.counters().buffer_bytes == 0
        read_at(opened, 0, SIZE_BYTES)
        assert kernel.counters().buffer_bytes == WINDOW_PAGES * PAGE_SIZE
    assert kernel.counters().buffer_bytes == 0
    assert kernel.machine.storage.free_bytes == free_bytes
    kernel.dcssblk.remove("RW")


def test_one_disk_is_copied_to_another(kernel: Kernel) -> None:
    out(kernel, "echo changed > /dev/dcssblk1; cp /dev/dcssblk0 /dev/dcssblk1")
    with open_file(kernel.vfs, b"/dev/dcssblk1") as opened:
        assert read_at(opened, 0, SIZE_BYTES) == CONTENT
    assert out(kernel, "sha256sum /dev/dcssblk0")[:64] == out(kernel, "sha256sum /dev/dcssblk1")[:64]


def test_mknod_makes_a_name_for_a_disk_anywhere(kernel: Kernel) -> None:
    out(kernel, "mknod /tmp/disk b 252 0; mknod /tmp/none b 252 9; mknod /tmp/other b 8 0; mknod /tmp/zero c 1 5")
    assert out(kernel, "head -c 8 /tmp/disk") == CONTENT[:8]
    assert [errno_of(path, kernel) for path in (b"/tmp/none", b"/tmp/other", b"/tmp/zero")] == [ENXIO] * 3
    assert out(kernel, "find /tmp -type b; find /tmp -type c") == b"/tmp/disk\n/tmp/none\n/tmp/other\n/tmp/zero\n"
    assert sh(kernel, "mknod /tmp/disk b 252 0").err == "mknod: /tmp/disk: File exists\n"
    out(kernel, "mknod /tmp/pipe p")
    assert kernel.vfs.resolve(b"/tmp/pipe").inode.rdev == (0, 0)
    out(kernel, "mkdir /tmp/safe; mount -t tmpfs -o nodev none /tmp/safe; mknod /tmp/safe/disk b 252 0")
    assert errno_of(b"/tmp/safe/disk", kernel) == EACCES


def test_null_takes_everything_and_gives_nothing(kernel: Kernel) -> None:
    assert out(kernel, "echo x > /dev/null; cat /dev/null") == b""
    with open_file(kernel.vfs, b"/dev/null", O_WRONLY) as opened:
        assert opened.write(bytes(10_000)) == 10_000
    with open_file(kernel.vfs, b"/dev/null") as opened:
        assert opened.read(memoryview(bytearray(10))) == 0


@needs("mke2fs")
def test_mount_takes_a_block_device_of_any_name(control_program: BlockingCp, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(mke2fs(tmp_path / "tree", tmp_path / "image")))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.add("A")
        out(kernel, "mknod /tmp/disk b 252 0; mount -o ro,xip /tmp/disk /mnt; cat /mnt/usr/lib/notes.txt")
        assert sh(kernel, "mount").lines[-1] == "/tmp/disk on /mnt type ext2 (ro,xip)"
        for source, errno in (("/tmp", "Block device required"), ("/dev/null", "Block device required")):
            assert sh(kernel, f"mount {source} /mnt").err == f"mount: mounting {source} on /mnt failed: {errno}\n"
        out(kernel, "mkdir /tmp/safe; mount -t tmpfs -o nodev none /tmp/safe; mknod /tmp/safe/disk b 252 0")
        assert sh(kernel, "mount /tmp/safe/disk /mnt").err == (
            "mount: mounting /tmp/safe/disk on /mnt failed: Permission denied\n"
        )

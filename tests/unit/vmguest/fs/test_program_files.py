"""What a guest with programs has in /dev, /proc/sys and /run, and one without does not."""

import os
import stat
from collections.abc import Callable
from errno import EAGAIN, ENOENT, ENOSPC, ENOTTY, ENXIO, EROFS
from pathlib import Path

import pytest
from process_support import add_process
from program_support import ADDRESS, FakeMemory, errno_of, ioctl, read

from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, SEEK_CUR, SEEK_END, SEEK_SET, open_file
from vmguest.fs.pipe import make_pipe
from vmguest.fs.program_files import add_program_files
from vmguest.fs.stream import OutputFile, open_stream
from vmguest.kernel import Kernel
from vmguest.terminal import Terminal


@pytest.fixture
def kernel(bare_kernel: Kernel) -> Kernel:
    add_program_files(bare_kernel)
    return bare_kernel


def names(vfs: Vfs, path: bytes) -> set[bytes]:
    return {entry.name for entry in vfs.children(vfs.resolve(path))}


def text(kernel: Kernel, path: str) -> str:
    with open_file(kernel.vfs, path.encode()) as opened:
        return read(opened).decode()


def test_a_guest_without_programs_has_none_of_it(vfs: Vfs) -> None:
    assert names(vfs, b"/dev") == {b"null"}
    assert names(vfs, b"/proc").isdisjoint({b"cpuinfo", b"self", b"sys"})
    assert errno_of(lambda: vfs.resolve(b"/proc/self")) == ENOENT


def test_dev_has_linuxs_devices(kernel: Kernel) -> None:
    vfs = kernel.vfs
    wanted = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
    for name, number in wanted.items():
        inode = vfs.resolve(b"/dev/" + name.encode()).inode
        theirs = Path("/dev", name).stat()
        assert (inode.rdev, inode.mode) == (number, theirs.st_mode | 0o666)
        assert number == (os.major(theirs.st_rdev), os.minor(theirs.st_rdev))
    links = {b"fd", b"stdin", b"stdout", b"stderr"}
    assert names(vfs, b"/dev") == {*map(str.encode, wanted), *links, b"console", b"pts", b"shm"}
    inodes = [entry.inode for entry in vfs.children(vfs.resolve(b"/dev"))]
    numbers = [inode.number for inode in inodes if not inode.is_dir]  # other file systems are mounted there
    assert len(numbers) == len(set(numbers))
    for link in links:
        dentry = vfs.resolve(b"/dev/" + link, follow=False)
        target = dentry.mount.file_system.readlink(dentry.inode)
        assert dentry.inode.size_bytes == len(target)
        assert target.startswith(b"/proc/self/fd")


def test_zero_full_and_random(kernel: Kernel) -> None:
    zero, full, random = (open_file(kernel.vfs, b"/dev/" + name, O_RDWR) for name in (b"zero", b"full", b"urandom"))
    assert read(zero, 200_000) == read(full, 200_000) == bytes(200_000)
    assert zero.write(b"taken") == random.write(b"taken") == 5
    assert errno_of(lambda: full.write(b"x")) == ENOSPC
    assert len({read(random, 32) for _ in range(4)}) == 4
    sent: list[int] = []

    def take(piece: memoryview) -> int:
        sent.append(len(piece))
        return len(piece)

    assert zero.file.sendfile(0, 100_000, take) == sum(sent) == 100_000
    assert int.from_bytes(ioctl(random, 0x80045200)[:4]) == 256
    for opened in (zero, random):
        assert errno_of(lambda opened=opened: opened.ioctl(0x5401, ADDRESS, FakeMemory())) == ENOTTY  # type: ignore[misc]


@pytest.mark.parametrize("name", ["null", "zero", "full", "urandom"])
def test_a_seek_in_a_device_without_an_end_does_what_it_does_here(kernel: Kernel, name: str) -> None:
    with open_file(kernel.vfs, b"/dev/" + name.encode()) as ours, Path("/dev", name).open("rb", buffering=0) as theirs:
        for offset, whence in ((10, SEEK_SET), (-1, SEEK_END), (5, SEEK_CUR)):
            assert ours.seek(offset, whence) == theirs.seek(offset, whence) == 0


def test_sys_has_the_one_processor(kernel: Kernel) -> None:
    assert text(kernel, "/sys/devices/system/cpu/possible") == text(kernel, "/sys/devices/system/cpu/online") == "0\n"
    assert text(kernel, "/sys/devices/system/cpu/cpu0/topology/core_id") == "0\n"


def test_dev_tty_is_the_terminal_that_controls_the_caller(kernel: Kernel) -> None:
    process = add_process(kernel)
    assert errno_of(lambda: open_file(kernel.vfs, b"/dev/tty", O_RDWR)) == ENXIO
    screen = bytearray()
    process.terminal = Terminal(screen.extend, lambda _group, _number: None)
    process.terminal.open(kernel.vfs, O_RDWR)
    with open_file(kernel.vfs, b"/dev/tty", O_RDWR) as opened:
        opened.write(b"to me")
    assert screen == b"to me"
    kernel.current_pid = None
    assert errno_of(lambda: open_file(kernel.vfs, b"/dev/tty")) == ENXIO


def test_the_console_is_the_guests_log(kernel: Kernel) -> None:
    with open_file(kernel.vfs, b"/dev/console", O_WRONLY) as opened:
        opened.write(b"a program says\n")
    assert any("a program says" in str(line) for line in kernel.log._ring)


def test_names_of_descriptors_open_what_they_mean(kernel: Kernel) -> None:
    process = add_process(kernel)
    heard: list[bytes] = []
    reading, writing = make_pipe(kernel.vfs)
    process.files.install(reading)
    process.files.install(open_stream(kernel.vfs, OutputFile(heard.append), O_WRONLY))
    process.files.install(open_file(kernel.vfs, b"/tmp/file", O_RDWR | O_CREAT))
    with open_file(kernel.vfs, b"/dev/stdout", O_WRONLY | O_CREAT | O_TRUNC) as opened:
        opened.write(b"out")
    with open_file(kernel.vfs, b"/dev/stderr", O_WRONLY | O_CREAT) as opened:
        opened.write(b"err")
    with open_file(kernel.vfs, b"/dev/stdin", O_RDONLY) as opened:
        writing.write(b"in")
        assert read(opened) == b"in"
        assert errno_of(lambda: read(opened)) == EAGAIN
    assert heard == [b"out"]
    assert read(process.files.get(2)) == b"err"


def test_places_for_temporary_files_can_be_written(kernel: Kernel) -> None:
    for path in (b"/dev/shm", b"/tmp"):
        with open_file(kernel.vfs, path + b"/x", O_RDWR | O_CREAT) as opened:
            opened.write(b"kept")
        assert kernel.vfs.resolve(path).mount.file_system.type_name == "tmpfs"
    assert errno_of(lambda: open_file(kernel.vfs, b"/dev/x", O_RDWR | O_CREAT)) == EROFS


def test_the_machine_as_proc_shows_it(kernel: Kernel) -> None:
    kernel.name = "TUX"
    process = add_process(kernel)
    process.user_seconds = 0.25
    expected: dict[str, str | Callable[[str], bool]] = {
        "sys/kernel/hostname": "TUX\n",
        "sys/kernel/ostype": "Linux\n",
        "sys/kernel/pid_max": "32768\n",
        "sys/vm/overcommit_memory": "0\n",
        "cpuinfo": lambda found: (
            "vendor_id       : IBM/S390\n# processors    : 1\n" in found and "machine = 2964" in found
        ),
        "loadavg": "0.00 0.00 0.00 1/1 100\n",
        "meminfo": lambda found: "\nMemAvailable:" in found and found.startswith("MemTotal:"),
        "stat": lambda found: found.startswith("cpu  25 0 50 ") and "\nbtime 1" in found,
        "uptime": lambda found: len(found.split()) == 2 and all(float(each) >= 0 for each in found.split()),
        "version": lambda found: found.startswith("Linux version "),
    }
    for path, wanted in expected.items():
        found = text(kernel, f"/proc/{path}")
        assert wanted(found) if callable(wanted) else wanted == found, (path, found)
    for line in ("features\t: esan3 zarch stfle msa ldisp eimm etf3eh highgprs", "machine         : 2964"):
        assert line in text(kernel, "/proc/cpuinfo")
    assert names(kernel.vfs, b"/proc/sys/kernel/random") == {b"boot_id", b"entropy_avail", b"poolsize", b"uuid"}
    assert stat.S_ISDIR(kernel.vfs.resolve(b"/proc/sys/vm").inode.mode)


def test_ids_are_made_anew_but_for_that_of_the_boot(kernel: Kernel) -> None:
    uuid, boot_id = "/proc/sys/kernel/random/uuid", "/proc/sys/kernel/random/boot_id"
    assert text(kernel, uuid) != text(kernel, uuid)
    assert text(kernel, boot_id) == text(kernel, boot_id)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as theirs:
        assert len(theirs.read()) == len(text(kernel, boot_id))

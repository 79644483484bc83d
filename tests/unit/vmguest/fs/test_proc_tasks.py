"""/proc of processes: its texts in the forms of this machine's kernel, and links that lead to the files themselves."""

import re
import resource
from errno import EINVAL, ELOOP, ENOENT
from pathlib import Path

import pytest
from process_support import FakeProcess, add_process
from program_support import errno_of, read

from vmguest.credentials import Credentials
from vmguest.fs.namei import Vfs, mkdir, unlink
from vmguest.fs.open import O_CREAT, O_NOFOLLOW, O_RDWR, open_file
from vmguest.fs.pipe import make_pipe
from vmguest.fs.program_files import add_program_files
from vmguest.identity import Identity, Ids
from vmguest.kernel import Kernel
from vmguest.terminal import Terminal


@pytest.fixture
def kernel(bare_kernel: Kernel) -> Kernel:
    add_program_files(bare_kernel)
    return bare_kernel


@pytest.fixture
def process(kernel: Kernel) -> FakeProcess:
    return add_process(kernel)


def text(vfs: Vfs, path: str) -> str:
    with open_file(vfs, path.encode()) as opened:
        return read(opened).decode()


def names(vfs: Vfs, path: str) -> list[str]:
    return sorted(entry.name.decode() for entry in vfs.children(vfs.resolve(path.encode())))


def link(vfs: Vfs, path: str) -> bytes:
    dentry = vfs.resolve(path.encode(), follow=False)
    return dentry.mount.file_system.readlink(dentry.inode)


def test_a_process_has_a_directory_while_it_is_there(process: FakeProcess, kernel: Kernel) -> None:
    vfs = kernel.vfs
    add_process(kernel, 7, makes_calls=False)
    assert {"7", "100", "self", "thread-self", "cpuinfo"} <= set(names(vfs, "/proc"))
    assert (link(vfs, "/proc/self"), link(vfs, "/proc/thread-self")) == (b"100", b"100/task/100")
    assert vfs.resolve(b"/proc/self").path == b"/proc/100"
    assert text(vfs, "/proc/thread-self/comm") == text(vfs, "/proc/self/comm") == "ls\n"
    place = vfs.resolve(b"/proc/100")
    kernel.processes = {}
    assert errno_of(lambda: vfs.resolve(b"/proc/100")) == ENOENT
    assert errno_of(lambda: list(vfs.children(place))) == ENOENT


def test_short_texts(process: FakeProcess, kernel: Kernel) -> None:
    wanted = {
        "cmdline": "ls\0-l\0",
        "environ": "A=1\0B=2\0",
        "comm": "ls\n",
        "maps": "10000000-10001000 r-xp 00000000 00:10 5 /bin/ls\n",
        "statm": "768 256 0 0 0 768 0\n",
        "auxv": "\0" * 16,
    }
    assert {name: text(kernel.vfs, f"/proc/self/{name}") for name in wanted} == wanted


def test_stat_has_the_kernels_fields(process: FakeProcess, kernel: Kernel) -> None:
    process.name = b"a (b) c"
    process.terminal = Terminal(lambda _data: None, lambda _group, _number: None)
    process.terminal.open(kernel.vfs, O_RDWR)
    process.terminal.job.take(100, 101)
    line = text(kernel.vfs, "/proc/self/stat")
    head, _, rest = line.rpartition(") ")
    assert head == "100 (a (b) c"
    fields = rest.split()
    assert len(fields) == len(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()) == 50
    assert fields[:6] == ["R", "1", "100", "100", str(136 << 8), "101"]
    assert fields[11:13] == ["125", "50"]
    assert fields[15:20] == ["20", "0", "1", "0", "200"]
    assert fields[20:22] == [str(3 << 20), "256"]
    assert fields[28:32] == ["0", "2", "4", "0"]
    assert fields[35] == "17"


def test_status_has_fields_of_the_kernels_in_its_order(process: FakeProcess, kernel: Kernel) -> None:
    process.credentials = Credentials(1000, 100, frozenset({5, 4}), 0o027)
    process.identity = Identity(groups=Ids(100, 100, 100)).with_users(Ids(1000, 1000, 1000))
    ours = dict(line.split(":\t", 1) for line in text(kernel.vfs, "/proc/self/status").splitlines())
    theirs = re.findall(r"(?m)^(\w+):", Path("/proc/self/status").read_text())
    assert list(ours) == [name for name in theirs if name in ours]
    assert ours["Uid"] == "1000\t1000\t1000\t1000"
    assert (ours["Groups"], ours["Umask"], ours["State"]) == ("4 5 ", "0027", "R (running)")
    assert (ours["VmRSS"], ours["Threads"], ours["CapEff"]) == ("    1024 kB", "1", "0" * 16)
    assert (ours["SigBlk"], ours["SigCgt"]) == ("0000000000000002", "0000000100000000")
    process.state = "Z"
    assert "VmRSS" not in text(kernel.vfs, "/proc/self/status")


def test_limits_are_the_kernels_table(process: FakeProcess, kernel: Kernel) -> None:
    process.limits = {resource.RLIMIT_NOFILE: (64, 128)}
    ours, theirs = (text(kernel.vfs, "/proc/self/limits"), Path("/proc/self/limits").read_text())
    assert [line[:26] for line in ours.splitlines()] == [line[:26] for line in theirs.splitlines()]
    assert [line[68:] for line in ours.splitlines()] == [line[68:] for line in theirs.splitlines()]
    assert "Max open files            64                   128                  files     \n" in ours


def test_mountinfo_names_parents(process: FakeProcess, kernel: Kernel) -> None:
    lines = [line.split() for line in text(kernel.vfs, "/proc/self/mountinfo").splitlines()]
    ids = {fields[4]: fields[0] for fields in lines}
    assert all(fields[6] == "-" for fields in lines)
    assert {fields[4]: fields[1] for fields in lines}["/dev/shm"] == ids["/dev"]
    assert {fields[4]: fields[7] for fields in lines}["/proc"] == "proc"
    assert text(kernel.vfs, "/proc/self/mounts") == text(kernel.vfs, "/proc/mounts")


def test_links_lead_to_the_files_themselves(process: FakeProcess, kernel: Kernel) -> None:
    vfs = kernel.vfs
    mkdir(vfs, b"/tmp/work")
    program = open_file(vfs, b"/tmp/work/program", O_RDWR | O_CREAT)
    program.write(b"\x7fELF")
    process.directory, process.executable = vfs.resolve(b"/tmp/work"), program.dentry
    process.files.install(program)
    for reading_or_writing in make_pipe(vfs):
        process.files.install(reading_or_writing)
    assert link(vfs, "/proc/self/cwd") == b"/tmp/work"
    assert link(vfs, "/proc/self/exe") == link(vfs, "/proc/self/fd/0") == b"/tmp/work/program"
    assert link(vfs, "/proc/self/root") == b"/"
    assert re.fullmatch(rb"pipe:\[\d+\]", link(vfs, "/proc/self/fd/1"))
    assert vfs.resolve(b"/proc/self/cwd/program").path == b"/tmp/work/program"
    unlink(vfs, b"/tmp/work/program")
    assert link(vfs, "/proc/self/exe") == b"/tmp/work/program (deleted)"
    with open_file(vfs, b"/proc/self/exe") as opened:
        assert read(opened) == b"\x7fELF"
    assert errno_of(lambda: open_file(vfs, b"/proc/self/exe", O_NOFOLLOW)) == ELOOP
    assert errno_of(lambda: link(vfs, "/proc/self/comm")) == EINVAL


def test_descriptors_are_listed_while_they_are_open(process: FakeProcess, kernel: Kernel) -> None:
    vfs = kernel.vfs
    opened = open_file(vfs, b"/tmp/file", O_RDWR | O_CREAT)
    opened.write(b"four")
    process.files.install(opened)
    process.files.dup(0, 5, close_on_exec=True)
    assert names(vfs, "/proc/self/fd") == names(vfs, "/proc/100/fdinfo") == ["0", "5"]
    place = vfs.resolve(b"/proc/self/fd/5", follow=False)
    lines = text(vfs, "/proc/self/fdinfo/5").splitlines()
    assert lines[:2] == ["pos:\t4", "flags:\t02000002"]
    assert text(vfs, "/proc/self/fdinfo/0").splitlines()[1] == "flags:\t02"
    process.files.close(5)
    assert errno_of(lambda: place.mount.file_system.readlink(place.inode)) == ENOENT
    assert errno_of(lambda: vfs.resolve(b"/proc/self/fd/5")) == ENOENT


def test_threads_have_directories_of_their_own(process: FakeProcess, kernel: Kernel) -> None:
    process.threads = (100, 103)
    assert names(kernel.vfs, "/proc/self/task") == ["100", "103"]
    assert text(kernel.vfs, "/proc/100/task/103/comm") == "ls\n"
    assert "task" not in names(kernel.vfs, "/proc/self/task/103")
    assert "task" in names(kernel.vfs, "/proc/self")
    numbers = [
        kernel.vfs.resolve(path).inode.number
        for path in (b"/proc/100", b"/proc/100/task", b"/proc/100/task/100", b"/proc/100/fd", b"/proc/100/fdinfo")
    ]
    assert len(set(numbers)) == len(numbers)


def test_a_zombie_has_no_files_any_more(process: FakeProcess, kernel: Kernel) -> None:
    process.state, process.directory, process.words = "Z", None, ()
    assert errno_of(lambda: kernel.vfs.resolve(b"/proc/self/cwd")) == ENOENT
    assert errno_of(lambda: link(kernel.vfs, "/proc/self/exe")) == ENOENT
    assert text(kernel.vfs, "/proc/self/cmdline") == ""

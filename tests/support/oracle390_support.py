"""Command lines in a tree of s390x software: by qemu-s390x in a chroot, and by a guest of our own."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, process_time
from typing import NamedTuple

from cp_support import BlockingCp
from guest_support import definition, guest_kernel

from vmguest.fs.stream import InputFile, OutputFile, open_stream
from vmguest.kernel import Kernel
from vmguest.s390x.programs import Command, Programs

SECONDS = 20
_MOST_SECONDS = 5 * SECONDS  # of a guest that has the CPU for a part of the time only, or that sleeps
_FIRST_PAGE = 0x40000
_STORAGE_BYTES = 512 << 20
_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "LC_ALL": "C", "TZ": "UTC"}
# binfmt_misc of a user namespace's own (Linux 6.7): nothing of the machine's changes, and it needs no privilege.
_MAGIC = r"\x7fELF\x02\x02\x01" + r"\x00" * 10 + r"\x02\x00\x16"
_MASK = r"\xff" * 7 + r"\x00" + r"\xff" * 9 + r"\xfe\xff\xff"
# What a command line leaves in its directory stands in its output, too.
_RUN = """mkdir /tmp/w; cd /tmp/w; eval "$1"; s=$?; cd /tmp/w; echo; echo == files
find . -mindepth 1 -printf '%p %y %m %l\\n' | sort; find . -type f -exec md5sum {} + | sort
cd /; rm -rf /tmp/w; exit $s"""


class Outcome(NamedTuple):
    """How a command line ended, what it printed, and after that the files that it made."""

    status: int
    output: str


def read_commands(path: Path) -> list[str]:
    """Return the command lines of a file; `#` begins a comment."""
    return [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def version_of_qemu() -> str:
    """Return what `qemu-s390x --version` says first."""
    done = subprocess.run(["qemu-s390x-static", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def qemu_fails_because(tree: Path) -> str | None:
    """Return why qemu-s390x cannot run programs of `tree` here, or None."""
    if shutil.which("qemu-s390x-static") is None:
        return "there is no qemu-s390x-static"
    if under_qemu(tree, "/bin/true && echo run").output.startswith("run\n"):
        return None
    return "user namespaces have no binfmt_misc of their own here (Linux 6.7), or are not allowed"


def under_qemu(tree: Path, command: str) -> Outcome:
    """Run a command line under qemu-s390x in a chroot of `tree`, in a user namespace; one that hangs has status -2."""
    words = " ".join(f"{name}={value}" for name, value in _ENVIRONMENT.items())
    binfmt = f":s390x:M::{_MAGIC}:{_MASK}:{shutil.which('qemu-s390x-static')}:FOC"
    script = f"""
        mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
        printf %s {shlex.quote(binfmt)} > /proc/sys/fs/binfmt_misc/register
        mount --bind {shlex.quote(str(tree))} {shlex.quote(str(tree))}; cd {shlex.quote(str(tree))}
        mount --rbind /dev dev; mount --rbind /proc proc; mount -t tmpfs none tmp; chmod 1777 tmp
        exec chroot . /usr/bin/env -i {words} /bin/bash -c {shlex.quote(_RUN)} bash "$1"
    """
    # The end of the first process of the namespace, which `--kill-child` brings about, ends all that qemu runs.
    words_of_host = ("unshare", "--map-root-user", "--mount", "--fork", "--pid", "--kill-child", "--mount-proc")
    try:
        done = subprocess.run(
            [*words_of_host, "bash", "-c", script, "bash", command],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a program that signals its group reaches nothing of the test
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_MOST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Outcome(-2, "")
    return Outcome(done.returncode, done.stdout.decode("utf-8", "backslashreplace"))


class TreeGuest:
    """A guest whose root file system is a tree of s390x software, in place; it notes the calls and programs."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._programs = Programs(kernel)
        self.calls: set[str] = set()
        self.programs: set[str] = set()

    def run(self, command: str) -> Outcome:
        """Run a command line as `under_qemu` does; one that does not end has status -1."""
        written = bytearray()
        given = InputFile()
        given.end()
        files = [open_stream(self._kernel.vfs, given, os.O_RDONLY)]
        for taken in (OutputFile(written.extend), OutputFile(_ignore)):
            files.append(open_stream(self._kernel.vfs, taken, os.O_WRONLY))
        environment = tuple(os.fsencode(f"{name}={value}") for name, value in _ENVIRONMENT.items())
        words = (b"/bin/bash", b"-c", os.fsencode(_RUN), b"bash", os.fsencode(command))
        process = self._programs.start(Command(words, environment), files, trace=self._note)
        used, end = process_time() + SECONDS, monotonic() + _MOST_SECONDS
        self._programs.run(lambda: process.exit_status is not None or process_time() > used or monotonic() > end)
        status = process.exit_status
        for each in self._programs.running:
            self._programs.end(each)
        self._programs.rest()
        return Outcome(-1 if status is None else status, bytes(written).decode("utf-8", "backslashreplace"))

    def _note(self, line: bytes) -> None:
        call = line.partition(b"(")[0].split()[-1].decode()
        self.calls.add(call)
        if call == "execve":
            executable = self._kernel.processes[int(line.split()[1].rstrip(b"]"))].executable
            if executable is not None:
                self.programs.add(os.fsdecode(executable.name))


def _ignore(_content: bytes) -> None:
    """Standard error is not compared: it names programs by how they were started."""


def _filled_with(image: Path) -> Callable[[int], None]:
    def fill(descriptor: int) -> None:
        with image.open("rb") as source:
            at = 0
            while content := source.read(1 << 22):
                os.pwrite(descriptor, content, at)
                at += len(content)

    return fill


@contextmanager
def tree_guest(cp: BlockingCp, image: Path) -> Iterator[TreeGuest]:
    """Yield a guest with an image mounted in place, and a /tmp in its own storage."""
    pages = image.stat().st_size >> 12
    cp.publish(definition("TREE", f"{_FIRST_PAGE:X}-{_FIRST_PAGE + pages - 1:X} SR"), _filled_with(image))
    with guest_kernel(cp, storage_bytes=_STORAGE_BYTES) as kernel:
        kernel.dcssblk.load_module("TREE")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        kernel.mount("", "/tmp", (), "tmpfs")
        yield TreeGuest(kernel)

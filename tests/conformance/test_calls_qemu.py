"""System calls give a program what they give it under qemu-s390x: files, locks, sockets, events, memory."""

import subprocess
from pathlib import Path

import pytest
from cp_support import BlockingCp
from ext2_support import make_image
from guest_support import WRITE, definition, fill_with, guest_kernel
from needs_support import needs, tool

from vmguest.fs.namei import mkdir
from vmguest.fs.open import O_RDONLY, O_WRONLY, open_file
from vmguest.fs.stream import OutputFile, open_stream
from vmguest.kernel import Kernel
from vmguest.s390x.programs import Command, Programs

pytestmark = needs("s390x-linux-gnu-gcc", "qemu-s390x")
SOURCES = (
    *("event_calls", "file_calls", "ipc_calls", "limit_calls", "lock_calls", "owner_calls"),
    *("memory_calls", "process_calls", "pty_calls", "scheduling_calls", "socket_calls", "splice_calls", "watch_calls"),
)
OF_ROOT = ("identity_calls", "root_calls")  # in a guest, programs are root
ON_DISKS = ("lock_calls", "memory_calls", "splice_calls", "watch_calls")


def built(name: str, directory: Path) -> Path:
    """Compile a program; return its path."""
    program = directory / name
    source = Path(__file__).with_name(f"{name}.c")
    compiler = tool("s390x-linux-gnu-gcc")
    assert compiler is not None
    subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-static", "-pthread", "-o", program, source], check=True)
    return program


def under_qemu(program: Path, directory: Path) -> str:
    """Return what a program prints under qemu-s390x, in a new directory."""
    emulator = tool("qemu-s390x")
    assert emulator is not None
    work = directory / "work"
    work.mkdir()
    done = subprocess.run([emulator, program], check=True, capture_output=True, cwd=work, timeout=300)
    return done.stdout.decode()


def in_guest(kernel: Kernel, program: Path, directory: bytes) -> str:
    """Return what a program prints in a guest, in a directory."""
    vfs, shown = kernel.vfs, bytearray()
    programs = Programs(kernel)
    with open_file(vfs, b"/tmp/program", WRITE, mode=0o755) as file:
        file.write(program.read_bytes())
    streams = [open_file(vfs, b"/dev/null", O_RDONLY)]
    streams += [open_stream(vfs, OutputFile(shown.extend), O_WRONLY) for _ in range(2)]
    process = programs.start(Command((b"/tmp/program",), directory=directory, time_limit_seconds=300), streams)
    programs.run(lambda: process.exit_status is not None)
    assert process.exit_status == 0
    programs.rest()
    return shown.decode()


@pytest.mark.parametrize("name", [*SOURCES, *(pytest.param(each, marks=needs("root")) for each in OF_ROOT)])
def test_they_return_what_qemu_returns(control_program: BlockingCp, name: str, tmp_path: Path) -> None:
    program = built(name, tmp_path)
    with guest_kernel(control_program) as kernel:
        assert in_guest(kernel, program, b"/tmp") == under_qemu(program, tmp_path)


@needs("mke2fs")
@pytest.mark.parametrize("name", ON_DISKS)
@pytest.mark.parametrize("options", [("rw", "xip"), ("rw",)])
def test_they_return_the_same_on_a_disk(
    control_program: BlockingCp, name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    program = built(name, tmp_path)
    image = make_image(tmp_path / "image", "8M", "-b", "4096")
    control_program.publish(definition("RW", "30000-307FF SW"), fill_with(image.read_bytes()))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RW")
        mkdir(kernel.vfs, b"/tmp/disk")
        kernel.mount("dcssblk0", "/tmp/disk", options)
        assert in_guest(kernel, program, b"/tmp/disk") == under_qemu(program, tmp_path)

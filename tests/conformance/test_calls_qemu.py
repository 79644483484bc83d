"""System calls give a program what they give it under qemu-s390x: files, locks, sockets, events, memory."""

import subprocess
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import WRITE, guest_kernel
from needs_support import needs, tool

from vmguest.fs.open import O_RDONLY, O_WRONLY, open_file
from vmguest.fs.stream import OutputFile, open_stream
from vmguest.s390x.programs import Command, Programs

pytestmark = needs("s390x-linux-gnu-gcc", "qemu-s390x")
SOURCES = ("event_calls", "limit_calls", "lock_calls")


@pytest.fixture(params=SOURCES)
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    name = str(request.param)
    built = tmp_path / name
    source = Path(__file__).with_name(f"{name}.c")
    compiler = tool("s390x-linux-gnu-gcc")
    assert compiler is not None
    subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-static", "-pthread", "-o", built, source], check=True)
    return built


def test_they_return_what_qemu_returns(control_program: BlockingCp, program: Path, tmp_path: Path) -> None:
    emulator = tool("qemu-s390x")
    assert emulator is not None
    directory = tmp_path / "work"
    directory.mkdir()
    wanted = subprocess.run([emulator, program], check=True, capture_output=True, cwd=directory, timeout=60).stdout
    with guest_kernel(control_program) as kernel:
        vfs, shown = kernel.vfs, bytearray()
        programs = Programs(kernel)
        with open_file(vfs, b"/tmp/program", WRITE, mode=0o755) as file:
            file.write(program.read_bytes())
        streams = [open_file(vfs, b"/dev/null", O_RDONLY)]
        streams += [open_stream(vfs, OutputFile(shown.extend), O_WRONLY) for _ in range(2)]
        process = programs.start(Command((b"/tmp/program",), directory=b"/tmp", time_limit_seconds=60), streams)
        programs.run(lambda: process.exit_status is not None)
        assert shown.decode() == wanted.decode()
        assert process.exit_status == 0
        programs.rest()

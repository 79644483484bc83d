"""A program on a terminal finds what it finds under qemu-s390x on a pseudoterminal: the screen shows the same."""

import errno
import os
import pty
import struct
import subprocess
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import pytest
from cp_support import BlockingCp
from guest_support import WRITE, guest_kernel
from needs_support import needs, tool
from wait_support import wait_at_rest

from vmguest.fs.open import O_RDWR, open_file
from vmguest.s390x.programs import Command, Programs
from vmguest.terminal import Terminal

pytestmark = needs("s390x-linux-gnu-gcc", "qemu-s390x")
SOURCE = Path(__file__).with_name("terminal_calls.c")
ROWS, COLUMNS = 24, 80
# What is typed when the screen ends with the words before it.
ANSWERS = [
    (b"\nline?\r\n", b"abc\x7f\x7fd\te\x15word\x16\x03 two\x17end\n"),
    (b"\nend of file?\r\n", b"no newline\x04\x04"),
    (b"\nkey?\n", b"\x1b[A\x03\r"),
    (b"\ninterrupt?\r\n", b"\x03"),
    (b"line for the job?\r\n", b"for the job\n"),
    (b"job reads 12\r\n", b"\x03"),
]


class Person:
    """Answers what the screen asks, each question once."""

    def __init__(self, type_keys: Callable[[bytes], None]) -> None:
        self.screen = bytearray()
        self._type = type_keys
        self._answers = list(ANSWERS)
        self._seen = 0

    def look(self) -> None:
        while self._answers and (place := self.screen.find(self._answers[0][0], self._seen)) >= 0:
            asked, keys = self._answers.pop(0)
            self._seen = place + len(asked)
            self._type(keys)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    built = tmp_path / "terminal_calls"
    compiler = tool("s390x-linux-gnu-gcc")
    assert compiler is not None
    subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-static", "-o", built, SOURCE], check=True)
    return built


def screen_of_qemu(program: Path) -> bytes:
    emulator = tool("qemu-s390x")
    assert emulator is not None
    pid, keyboard = pty.fork()
    if pid == 0:
        os.read(0, 1)  # until the window has its size
        os.execv(emulator, [emulator, str(program)])
    ioctl(keyboard, TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    os.write(keyboard, b"\n")
    assert os.read(keyboard, 2) == b"\r\n"

    def type_keys(keys: bytes) -> None:
        wait_at_rest(pid)  # a key that comes before it reads is no interrupt
        assert os.write(keyboard, keys) == len(keys)

    person = Person(type_keys)
    while True:
        try:
            person.screen += os.read(keyboard, 4096)
        except OSError as error:
            assert error.errno == errno.EIO  # it has ended
            break
        person.look()
    os.close(keyboard)
    assert os.waitpid(pid, 0)[1] == 0
    return bytes(person.screen)


def screen_of_guest(cp: BlockingCp, program: Path) -> bytes:
    with guest_kernel(cp) as kernel:
        programs = Programs(kernel)
        with open_file(kernel.vfs, b"/tmp/program", WRITE, mode=0o755) as file:
            file.write(program.read_bytes())
        person = Person(lambda keys: terminal.input(keys))  # noqa: PLW0108 - it is made below
        terminal = Terminal(person.screen.extend, programs.signal_group)
        terminal.resize(ROWS, COLUMNS)
        streams = [terminal.open(kernel.vfs, O_RDWR) for _ in range(3)]
        process = programs.start(Command((b"/tmp/program",), time_limit_seconds=300), streams, terminal=terminal)

        def ended() -> bool:
            if all(thread.waiting for thread in process.threads):  # a key that comes before it reads is no interrupt
                person.look()
            return process.exit_status is not None

        programs.run(ended)
        programs.rest()
        assert process.exit_status == 0
        return bytes(person.screen)


def test_the_screen_shows_what_it_shows_with_qemu(control_program: BlockingCp, program: Path) -> None:
    wanted = screen_of_qemu(program)
    assert b"job ended by 2\r\n" in wanted
    assert screen_of_guest(control_program, program).decode() == wanted.decode()

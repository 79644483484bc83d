"""Another process executes system calls, and goes on as if nothing had happened."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from errno import EBADF
from typing import NamedTuple

import pytest

from dcss.account.maps import read_maps
from dcss.host.ptrace import StoppedProcess, syscall_instruction, unsupported_because

pytestmark = pytest.mark.skipif(unsupported_because() is not None, reason=unsupported_because() or "")
READ_CLOSE, READ_GETPID, READ_MMAP = 3, 39, 9
# It sleeps in poll, counts signals, and answers each byte with how many it has had.
PROGRAM = """
import os, select, signal
signals = []
signal.signal(signal.SIGUSR1, lambda number, frame: signals.append(number))
os.write(1, b"+")
while select.select([0], [], [])[0] and os.read(0, 1):
    os.write(1, b"%d;" % len(signals))
"""


class Other(NamedTuple):
    """The process, and where it has the instruction."""

    process: "subprocess.Popen[bytes]"
    code: int

    def answer(self) -> bytes:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(b"x")
        return self.process.stdout.read(2)


@pytest.fixture
def other() -> Iterator[Other]:
    words = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(words, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(1) == b"+"
        with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
            texts = [vma for vma in read_maps(process.pid) if vma.permissions.startswith("r-x")]
            found = (syscall_instruction(memory.fileno(), vma.start, vma.end) for vma in texts)
            code = next(place for place in found if place is not None)
        yield Other(process, code)
        process.kill()


def test_it_executes_calls_and_goes_on_waiting(other: Other) -> None:
    for _ in range(20):
        with StoppedProcess(other.process.pid, other.code) as stopped:
            assert stopped.call(READ_GETPID) == other.process.pid
        assert other.answer() == b"0;"


def test_what_it_maps_is_its_own(other: Other) -> None:
    with StoppedProcess(other.process.pid, other.code) as stopped:
        address = stopped.call(READ_MMAP, 0, 8192, 3, 0x22, 0xFFFF_FFFF_FFFF_FFFF, 0)
    assert any(vma.start <= address < vma.end for vma in read_maps(other.process.pid))
    assert other.answer() == b"0;"


def test_an_error_is_raised_here_and_not_seen_there(other: Other) -> None:
    with StoppedProcess(other.process.pid, other.code) as stopped:
        with pytest.raises(
            OSError, match=f"system call 3 in process {other.process.pid}: Bad file descriptor"
        ) as caught:
            stopped.call(READ_CLOSE, 999)
        assert stopped.call(READ_GETPID) == other.process.pid
    assert caught.value.errno == EBADF
    assert other.answer() == b"0;"


def test_signals_that_come_meanwhile_are_not_lost(other: Other) -> None:
    with StoppedProcess(other.process.pid, other.code) as stopped:
        os.kill(other.process.pid, signal.SIGUSR1)
        assert stopped.call(READ_GETPID) == other.process.pid
    while other.answer() == b"0;":
        pass
    assert other.answer() == b"1;"


def test_a_process_that_has_ended_is_an_error(other: Other) -> None:
    other.process.kill()
    other.process.wait()
    with pytest.raises(ProcessLookupError), StoppedProcess(other.process.pid, other.code):
        pass


def test_one_that_is_killed_while_it_is_stopped_is_an_error(other: Other) -> None:
    with pytest.raises(ProcessLookupError), StoppedProcess(other.process.pid, other.code) as stopped:
        other.process.kill()
        while True:
            stopped.call(READ_GETPID)

"""Taking a system down waits for what has something to do, and not for what the kernel does not let end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from needs_support import needs
from silent_fuse_support import silent_fuse

from dcss.engines.forked import engine
from dcss.engines.forked.instance import ForkedInstance

# To close a file of FUSE asks its server, also when a signal ends the process.
KEEP_OPEN = "import sys; file = open(sys.argv[1], 'rb'); print('open', flush=True); sys.stdin.read()"

BUSY = "import time; print('busy', flush=True)\nwhile time.process_time() < 0.5: pass\nprint('written')"


class Running(ForkedInstance):
    """A guest's process without anything that serves it."""

    pidfd: int

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.pid, self.pidfd = process.pid, os.pidfd_open(process.pid)


def started(path: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-I", "-S", "-c", KEEP_OPEN, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


@needs("fuse")
def test_a_guest_that_waits_for_a_silent_file_system_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_END_SECONDS", 0.2)
    with silent_fuse() as fuse:
        stuck, other = started(fuse.path), started(Path(__file__))
        guests = [Running(stuck), Running(other)]
        fuse.be_silent()
        for process in (stuck, other):
            process.kill()
        engine._wait_for(guests)
        assert stuck.poll() is None
        with pytest.raises(ChildProcessError):  # this one has ended, and was waited for
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOHANG)
    assert stuck.wait() == -9
    other.wait()
    for guest in guests:
        os.close(guest.pidfd)
    for process in (stuck, other):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


def test_guests_that_still_write_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_SHUTDOWN_SECONDS", 0.0)
    writing = subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY], stdout=subprocess.PIPE)
    assert writing.stdout is not None
    assert writing.stdout.readline() == b"busy\n"
    guest = Running(writing)
    engine._wait_until_ended([guest])
    assert writing.poll() == 0
    os.close(guest.pidfd)
    writing.stdout.close()

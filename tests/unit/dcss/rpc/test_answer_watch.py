"""A client that waits for CP: one that has to wait for its turn on a busy machine is not silent, one that waits is."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from wait_support import wait_until

from dcss.host.process import wants_processor
from dcss.rpc import watch as module
from dcss.rpc.address import socket_path
from dcss.rpc.watch import AnswerWatch, NotAnsweringError

Cp = Callable[[str], int]
_PROGRAM = """
import socket, sys, time
with socket.socket(fileno=int(sys.argv[1])) as listening:
    print(flush=True)
    {before}
    client, _ = listening.accept()
    client.send(b"answer")
    client.recv(1)
"""


@pytest.fixture
def cp(tmp_path: Path) -> Iterator[Cp]:
    """Start processes that listen in `tmp_path`, do something, and then answer one client."""
    with ExitStack() as stack:

        def start(before: str) -> int:
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            with socket_path(tmp_path) as path:
                listening.bind(path)
            listening.listen()
            command = [sys.executable, "-c", _PROGRAM.format(before=before), str(listening.fileno())]
            process = subprocess.Popen(command, pass_fds=[listening.fileno()], stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            return process.pid

        yield start


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each look ask whether CP answers, and give it no time."""
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)


def test_a_cp_that_wants_a_processor_is_waited_for(cp: Cp, tmp_path: Path) -> None:
    AnswerWatch("demo", cp("while time.process_time() < 0.3: pass"), tmp_path).check()


def test_a_cp_that_waits_for_something_else_is_silent(cp: Cp, tmp_path: Path) -> None:
    pid = cp("time.sleep(600)")
    wait_until(lambda: not wants_processor(pid))
    with pytest.raises(NotAnsweringError, match=f"process {pid}.* answers nothing"):
        AnswerWatch("demo", pid, tmp_path).check()

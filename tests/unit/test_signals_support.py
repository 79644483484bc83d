"""The tests themselves may run in the background or under nohup: what they start is interrupted all the same."""

import subprocess
import sys

import pytest
import signals_support

PROGRAM = f"""
import signal, subprocess, sys
sys.path.insert(0, {str(signals_support.__file__).rpartition("/")[0]!r})
from signals_support import ENDING, reset_signals

for number in ENDING:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
if sys.argv[1] == "reset":
    reset_signals()
child = subprocess.Popen(["sleep", "60"])
child.send_signal(int(sys.argv[2]))
try:
    status = child.wait(timeout=0.5 if sys.argv[1] == "leave" else 30)
except subprocess.TimeoutExpired:
    child.kill()
    status = child.wait()
print(status)
"""


def status_of_child(what: str, number: int) -> int:
    command = [sys.executable, "-S", "-c", PROGRAM, what, str(int(number))]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.parametrize("number", signals_support.ENDING)
def test_a_signal_that_the_tests_ignore_ends_their_children(number: int) -> None:
    assert status_of_child("reset", number) == -number


def test_without_the_reset_it_would_not() -> None:
    assert status_of_child("leave", signals_support.ENDING[0]) == -9

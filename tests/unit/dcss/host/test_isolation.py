"""A process that was restricted: what it can do still, and what it cannot do any more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcss.host.landlock import NoFiles
from dcss.host.seccomp import CallFilter

PROGRAM = """
import ctypes, mmap, os, signal, socket, sys, threading
sys.path.insert(0, {root!r})
from dcss.host.landlock import NoFiles
from dcss.host.seccomp import CallFilter, forbid_new_privileges
parent, inherited, pipe = os.getppid(), os.open("/etc/passwd", os.O_RDONLY), os.pipe()
forbid_new_privileges()
said = {restrict}
done = []

def attempt(action):
    try:
        result = action()
    except (OSError, RuntimeError) as error:
        return type(error).__name__
    return "done"

def thread():
    one = threading.Thread(target=lambda: done.append(1))
    one.start()
    one.join()

{action}
os.write(1, repr((said, outcome, done)).encode())
"""
BOTH, LANDLOCK = "(NoFiles().apply(), CallFilter().apply())", "NoFiles().apply()"


def outcome(action: str, restrict: str = BOTH) -> str:
    """Return what became of an action in a process that was restricted before."""
    program = PROGRAM.format(
        root=str(Path(__file__).parents[4]), restrict=restrict, action=f"outcome = attempt(lambda: {action})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said, result, _ = eval(done.stdout.decode())  # what the program above printed
    if restrict == LANDLOCK and said.startswith("no Landlock"):
        pytest.skip(said)
    if restrict == BOTH and said[1].startswith("no seccomp"):
        pytest.skip(said[1])
    return str(result)


@pytest.mark.parametrize(
    "action",
    [
        "os.pread(inherited, 10, 0)",
        "os.write(pipe[1], b'x') and os.read(pipe[0], 1)",
        "mmap.mmap(-1, 1 << 20).close()",
        "thread()",
        "os.urandom(8)",
        "os.dup2(inherited, 90)",
        "signal.raise_signal(signal.SIGWINCH)",
        "bytearray(64 << 20)",
    ],
)
def test_it_works_on_with_what_it_has(action: str) -> None:
    assert outcome(action) == "done"


@pytest.mark.parametrize(
    "action",
    [
        "open('/etc/passwd')",
        "open('/proc/self/exe', 'rb')",
        "os.listdir('/')",
        "os.stat('/')",
        "os.mkdir('/tmp/dcss-isolation-test')",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "os.kill(parent, 0)",
        "os.kill(os.getpid(), 9)",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.setuid(0)",
        "os.memfd_create('x')",
        "os.pidfd_open(parent)",
    ],
)
def test_it_gets_nothing_new_and_reaches_nobody(action: str) -> None:
    assert outcome(action) in {"PermissionError", "OSError"}


@pytest.mark.parametrize("action", ["open('/etc/passwd')", "os.listdir('/')", "open('/tmp/x', 'w')"])
def test_landlock_alone_refuses_every_path(action: str) -> None:
    assert outcome(action, LANDLOCK) == "PermissionError"


def test_a_process_without_no_new_privileges_is_told_why_nothing_is_in_force() -> None:
    pid = os.fork()
    if pid == 0:
        os.setgroups([]) if os.geteuid() == 0 else None
        if os.geteuid() == 0:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        said = (NoFiles().apply(), CallFilter().apply())
        os._exit(0 if all(each.startswith("no ") for each in said) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

"""A process forks its siblings: they are children of its parent, who waits for them."""

import json
import subprocess
import sys
from errno import EINVAL, ENOSYS
from pathlib import Path

import pytest

from dcss.host import fork
from dcss.host.fork import fork_sibling

ROOT = str(Path(__file__).parents[4])
# In a process of its own, which has no other children.
PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from dcss.host.fork import fork_sibling

def fork_two(parent):
    for _ in range(2):
        if fork_sibling() == 0:
            os._exit(7 if os.getppid() == parent else 8)
    return 3

parent = os.getpid()
pid = os.fork()
if pid == 0:
    status = 99
    try:
        status = eval(sys.argv[2])
    finally:
        os._exit(status)
statuses = {}
while len(statuses) < int(sys.argv[3]):
    ended, status = os.waitpid(-1, 0)
    statuses[ended] = os.waitstatus_to_exitcode(status)
print(json.dumps([statuses.pop(pid), sorted(statuses.values())]))
"""


def in_a_child(action: str, processes: int) -> list[object]:
    """Run `action` in a child that forks siblings, so many in all with it; return its status, and theirs, sorted."""
    command = [sys.executable, "-c", PROGRAM, ROOT, action, str(processes)]
    statuses: list[object] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return statuses


def test_the_parent_waits_for_the_siblings() -> None:
    assert in_a_child("fork_two(parent)", 3) == [3, [7, 7]]


def test_a_copy_runs_python_and_forks_again() -> None:
    code = "os._exit(5) if fork_sibling() == 0 and sum(map(int, '12 3'.split())) != fork_two(parent) else 4"
    assert in_a_child(code, 4) == [4, [5, 7, 7]]


@pytest.mark.parametrize(("arguments", "errno"), [([-1, 0, 0, 0, 0, 0], ENOSYS), (None, EINVAL)])
def test_an_error_of_the_kernel_is_raised(
    arguments: list[int] | None, errno: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone_newns_and_fs = 0x00020200  # which go not together: EINVAL
    number, *first_two = fork._ARGUMENTS[:3]
    wrong = arguments or [number, *(each | clone_newns_and_fs for each in first_two), 0, 0, 0]
    monkeypatch.setattr(fork, "_ARGUMENTS", wrong)
    with pytest.raises(OSError, match="CLONE_PARENT") as caught:
        fork_sibling()
    assert caught.value.errno == errno

"""A process forks its siblings: they are children of its parent, who waits for them."""

import os
from errno import EINVAL, ENOSYS

import pytest

from dcss.host import fork
from dcss.host.fork import fork_sibling


def in_a_child(action: str) -> tuple[int, list[int]]:
    """Run `action` in a child that may fork siblings; return its status, and those of its siblings, sorted."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = eval(action)
        finally:
            os._exit(status)
    statuses: dict[int, int] = {}
    while True:
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return statuses.pop(pid), sorted(statuses.values())
        statuses[ended] = os.waitstatus_to_exitcode(status)


def fork_two(parent: int) -> int:
    """Fork two siblings, which end with 7 where their parent is that of this process."""
    for _ in range(2):
        if fork_sibling() == 0:
            os._exit(7 if os.getppid() == parent else 8)
    return 3


def test_the_parent_waits_for_the_siblings() -> None:
    assert in_a_child(f"fork_two({os.getpid()})") == (3, [7, 7])


def test_a_copy_runs_python_and_forks_again() -> None:
    code = f"os._exit(5) if fork_sibling() == 0 and sum(map(int, '12 3'.split())) != fork_two({os.getpid()}) else 4"
    assert in_a_child(code) == (4, [5, 7, 7])


@pytest.mark.parametrize(("arguments", "errno"), [([-1, 0, 0, 0, 0, 0], ENOSYS), (None, EINVAL)])
def test_an_error_of_the_kernel_is_raised(
    arguments: list[int] | None, errno: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone_newns_and_fs = 0x00020200  # which go not together: EINVAL
    wrong = arguments or [
        fork._ARGUMENTS[0],
        *(number | clone_newns_and_fs for number in fork._ARGUMENTS[1:3]),
        0,
        0,
        0,
    ]
    monkeypatch.setattr(fork, "_ARGUMENTS", wrong)
    with pytest.raises(OSError, match="CLONE_PARENT") as caught:
        fork_sibling()
    assert caught.value.errno == errno

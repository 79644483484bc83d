"""Programs that take all they can get end with an error or a signal; the guest goes on, and gets everything back."""

from errno import EAGAIN, ENOMEM

import pytest
from assembly390_support import assemble, assembler
from guest390_support import Ended, Guest390

from vmguest.fs.namei import unlink

pytestmark = assembler
SIGBUS, SIGKILL = 7, 9

CHILDREN_THAT_WAIT = """
        sys fork
        ltgr %r2, %r2
        jh _start
        jl 1f
        sys pause
1:      leave_with_error
"""
FORK_BOMB = """
        sys fork
        j _start
"""
THREADS_THAT_WAIT = """
        lghi %r2, 0
        lgfi %r3, 0x10f00
        sys clone
        ltgr %r2, %r2
        jh _start
        jl 1f
        sys pause
1:      leave_with_error
"""
TOUCH_ALL = """
        map_pages 0x100000, 2
1:      mvi 0(%r2), 1
        aghi %r2, 4096
        j 1b
"""
MAP_ALL = """
1:      map_pages 0x10000000, 2
        lgr %r5, %r2
        ltgr %r2, %r2
        jnl 1b
        leave_with_error
"""
PARENT_OF_A_HOG = """
        sys fork
        ltgr %r2, %r2
        jz 2f
        lghi %r3, 0
        lghi %r4, 0
        lghi %r5, 0
        sys wait4
        leave 5
2:      map_pages 0x100000, 2
1:      mvi 0(%r2), 1
        aghi %r2, 4096
        j 1b
"""


def check_it_goes_on(guest: Guest390) -> None:
    assert guest.run(b"/bin/hello") == Ended(0, b"hello\n")


@pytest.mark.parametrize("source", [CHILDREN_THAT_WAIT, THREADS_THAT_WAIT])
def test_there_are_not_more_children_or_threads_than_the_guest_can_hold(guest: Guest390, source: str) -> None:
    before = guest.held()
    path = guest.put("program", assemble(source))
    process = guest.start(path)
    assert guest.finish(process) in {EAGAIN, ENOMEM}
    check_it_goes_on(guest)
    for each in guest.programs.running:
        guest.programs.end(each)
    unlink(guest.kernel.vfs, path)
    assert guest.held() == before


def test_a_fork_bomb_ends_with_its_time(guest: Guest390) -> None:
    before = guest.held()
    process = guest.start(guest.put("program", assemble(FORK_BOMB)), limit=1.0)
    assert guest.finish(process) == 128 + SIGKILL
    assert guest.programs.running == ()
    check_it_goes_on(guest)
    assert guest.held()._replace(free_bytes=0) == before._replace(free_bytes=0)


@pytest.mark.parametrize(("source", "status"), [(TOUCH_ALL, 128 + SIGBUS), (MAP_ALL, ENOMEM), (PARENT_OF_A_HOG, 5)])
def test_who_takes_all_storage_is_stopped_and_gives_it_back(guest: Guest390, source: str, status: int) -> None:
    before = guest.held()
    assert guest.run_code(assemble(source)).status == status
    assert guest.held() == before
    told = [line for line in guest.kernel.log.messages("info") if ": SIGBUS at 0x" in line]
    assert len(told) == (status != ENOMEM)
    assert all(line.endswith("(give the guest more `storage:`)") for line in told)
    check_it_goes_on(guest)

"""Nobody who waits is forgotten: what others do meanwhile wakes him, whatever the order, and time alone does too."""

import os
from errno import ETIMEDOUT

import pytest
from assembly390_support import assemble, assembler
from guest390_support import Guest390

from vmguest.s390x.scheduler import StalledError
from vmguest.s390x.signals import SI_USER, SIGCONT, SIGSTOP, SignalInfo
from vmguest.s390x.timers import Timers

pytestmark = assembler
NUMBERS = """
        .set getppid, 64
        .set setitimer, 104
        .set epoll_ctl, 250
        .set epoll_wait, 251
        .set ppoll, 302
        .set set_robust_list, 304
        .set timerfd_create, 319
        .set timerfd_settime, 320
        .set epoll_create1, 327
"""
WAYS_TO_WAIT_FOR_A_FILE = {
    "read": "lgr %r2, %r8; larl %r3, spare; lghi %r4, 8; sys read; aghi %r2, -7",
    "poll": "larl %r2, wanted; st %r8, 0(%r2); lghi %r3, 1; lghi %r4, -1; sys poll",
    "epoll": """
        lghi %r2, 0; sys epoll_create1; lgr %r7, %r2
        lghi %r3, 1; lgr %r4, %r8; larl %r5, event; sys epoll_ctl
        lgr %r2, %r7; larl %r3, spare; lghi %r4, 1; lghi %r5, -1; sys epoll_wait
    """,
}


def run(guest: Guest390, source: str) -> int:
    """Run a program; return its status. It leaves nothing behind."""
    before = guest.held()
    ended = guest.run_code(assemble(NUMBERS + source))
    assert guest.held() == before
    return ended.status


@pytest.mark.parametrize("way", WAYS_TO_WAIT_FOR_A_FILE)
def test_a_timer_that_another_process_starts_while_one_waits_for_it(guest: Guest390, way: str) -> None:
    waiting = WAYS_TO_WAIT_FOR_A_FILE[way].replace(";", "\n")
    source = f"""
        lghi %r2, 1
        lghi %r3, 0
        sys timerfd_create
        lgr %r8, %r2
        sys fork
        ltgr %r2, %r2
        jz 1f
        {waiting}
        svc exit_group
1:      lgr %r2, %r8
        lghi %r3, 0
        larl %r4, soon
        lghi %r5, 0
        sys timerfd_settime
        leave 0
        .data
        .balign 8
soon:   .quad 0, 0, 0, 1000000
event:  .long 1, 0, 0, 0
wanted: .long 0
        .short 1, 0
    """
    assert run(guest, source) == 1


def test_a_word_of_shared_memory_that_nobody_has_stored_into(guest: Guest390) -> None:
    source = """
        map_pages 1, 1
        lgr %r8, %r2
        sys fork
        ltgr %r2, %r2
        jz 1f
        lgr %r2, %r8
        lghi %r3, 0
        lghi %r4, 0
        lghi %r5, 0
        sys futex
        l %r2, 0(%r8)
        svc exit_group
1:      mvi 3(%r8), 5
        lgr %r2, %r8
        lghi %r3, 1
        lghi %r4, 1
        sys futex
        leave 0
    """
    assert run(guest, source) == 5


def test_a_signal_does_not_end_the_wait_for_a_child_of_vfork(guest: Guest390) -> None:
    source = """
        handle 10
        sys vfork
        lgr %r9, %r2
        ltgr %r2, %r2
        jz 1f
        jl 2f
        wait_for
        larl %r3, status
        llgc %r2, 2(%r3)
        larl %r3, count
        ag %r2, 0(%r3)
        svc exit_group
2:      leave 77
1:      sys getppid
        lghi %r3, 10
        sys kill
        sys sched_yield
        sys sched_yield
        leave 4
handler:
        larl %r1, count
        agsi 0(%r1), 1
        br %r14
    """
    assert run(guest, source) == 4 + 1


def test_the_lock_of_a_thread_that_ends(guest: Guest390) -> None:
    source = """
        lghi %r2, 0
        lgfi %r3, 0x10f00
        sys clone
        ltgr %r2, %r2
        larl %r8, word
        jz 1f
2:      sys sched_yield
        llgf %r4, 0(%r8)
        ltgr %r4, %r4
        jz 2b
        lgr %r2, %r8
        lghi %r3, 0
        lghi %r5, 0
        sys futex
        llgf %r2, 0(%r8)
        srlg %r2, %r2, 30
        svc exit_group
1:      larl %r2, head
        lghi %r3, 24
        sys set_robust_list
        sys gettid
        oilh %r2, 0x8000
        st %r2, 0(%r8)
        sys sched_yield
        lghi %r2, 0
        svc 1
        .data
        .balign 8
head:   .quad lock, 8, 0
lock:   .quad head
word:   .long 0, 0
    """
    assert run(guest, source) == 3, "FUTEX_WAITERS and FUTEX_OWNER_DIED, no owner"


def test_an_ignored_signal_leaves_the_blocked_ones_blocked(guest: Guest390) -> None:
    source = """
        block 0x10000
        send 17
        lghi %r2, 0
        lghi %r3, 0
        larl %r4, none
        lgr %r5, %r4
        lghi %r6, 8
        sys ppoll
        lghi %r2, 0
        lghi %r3, 0
        larl %r4, count
        lghi %r5, 8
        sys rt_sigprocmask
        lgrl %r2, count
        srlg %r2, %r2, 16
        svc exit_group
        .balign 8
none:   .quad 0, 0
    """
    assert run(guest, source) == 1


def test_a_timer_of_a_microsecond_leaves_the_program_time(guest: Guest390) -> None:
    source = """
        handle 14
        lghi %r2, 0
        larl %r3, often
        lghi %r4, 0
        sys setitimer
        lgrl %r2, count
1:      lgrl %r2, count
        cghi %r2, 3
        jl 1b
        leave 0
handler:
        larl %r1, count
        agsi 0(%r1), 1
        br %r14
        .balign 8
often:  .quad 0, 1, 0, 1
    """
    assert run(guest, source) == 0


def test_what_is_due_again_at_once_is_called_the_next_time() -> None:
    timers, calls = Timers(), []
    errors: list[Exception] = []

    def again() -> None:
        calls.append(1)
        assert len(calls) < 3, "it does not end"
        timers.at(0.0, again)

    timers.at(0.0, again)
    timers.fire(errors.append)
    assert calls == [1]
    timers.fire(errors.append)
    assert calls == [1, 1]
    assert not errors


@pytest.mark.parametrize("seconds", [3_000_000, (1 << 63) - 1])
def test_the_guest_hears_of_the_host_during_a_long_sleep(guest: Guest390, seconds: int) -> None:
    source = f"""
        larl %r2, 1f
        lghi %r3, 0
        sys nanosleep
        leave 77
        .balign 8
1:      .quad {seconds}, 0
    """
    process = guest.start(guest.put("sleeper", assemble(source)))
    heard: list[bytes] = []
    reading, writing = os.pipe()
    try:
        guest.programs.run(lambda: bool(process.threads[0].waiting))
        os.write(writing, b"x")
        guest.programs.run(lambda: bool(heard), {reading: lambda: heard.append(os.read(reading, 1))})
    finally:
        os.close(reading)
        os.close(writing)
    assert process.exit_status is None


def test_nothing_is_due_for_a_process_that_is_stopped(guest: Guest390) -> None:
    source = """
        larl %r2, status
        lghi %r3, 0
        lghi %r4, 0
        larl %r5, 1f
        sys futex
        leave_with_error
        .balign 8
1:      .quad 0, 1000000
    """
    process = guest.start(guest.put("sleeper", assemble(source)))
    guest.programs.run(lambda: bool(process.threads[0].waiting))
    guest.system.delivery.send(process, SignalInfo(SIGSTOP, SI_USER))
    with pytest.raises(StalledError):
        guest.programs.run(lambda: False)
    guest.system.delivery.send(process, SignalInfo(SIGCONT, SI_USER))
    assert guest.finish(process) == ETIMEDOUT

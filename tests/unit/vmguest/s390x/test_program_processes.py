"""Processes, threads and signals as programs see them: each program's exit status says what it found."""

from errno import EINTR, ETIMEDOUT

import pytest
from assembly390_support import assemble, assembler
from guest390_support import Ended, Guest390

pytestmark = assembler
SIGILL, SIGFPE, SIGSEGV, SIGTERM = 4, 8, 11, 15
SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x08000000, 0x10000000, 0x40000000, 0x80000000

COUNTING_HANDLER = """
handler:
        larl %r1, count
        agsi 0(%r1), 1
        br %r14
"""
LEAVE_WITH_COUNT = """
        lgrl %r2, count
        svc exit_group
"""


def run(guest: Guest390, source: str) -> Ended:
    """Run a program; it leaves nothing behind."""
    before = guest.held()
    ended = guest.run_code(assemble(source))
    assert guest.held() == before
    return ended


def test_a_parent_learns_how_its_child_ended(guest: Guest390) -> None:
    source = """
        sys fork
        lgr %r9, %r2
        ltgr %r2, %r2
        jz 1f
        wait_for
        larl %r3, status
        llgc %r2, 2(%r3)
        svc exit_group
1:      leave 7
    """
    assert run(guest, source).status == 7


def test_what_a_child_of_vfork_stores_is_its_parents(guest: Guest390) -> None:
    source = """
        sys vfork
        ltgr %r2, %r2
        jz 1f
        larl %r3, byte
        llgc %r2, 0(%r3)
        svc exit_group
1:      larl %r3, byte
        mvi 0(%r3), 5
        leave 0
    """
    assert run(guest, source).status == 5


def test_what_a_child_of_fork_stores_is_its_own(guest: Guest390) -> None:
    source = """
        sys fork
        lgr %r9, %r2
        larl %r3, byte
        ltgr %r2, %r2
        jz 1f
        wait_for
        larl %r3, byte
        llgc %r2, 0(%r3)
        svc exit_group
1:      mvi 0(%r3), 5
        leave 0
    """
    assert run(guest, source).status == 0


def test_shared_memory_is_a_childs_too(guest: Guest390) -> None:
    source = """
        map_pages 1, 1
        lgr %r8, %r2
        sys fork
        lgr %r9, %r2
        ltgr %r2, %r2
        jz 1f
        llgc %r2, 0(%r8)
        wait_for
        llgc %r2, 0(%r8)
        svc exit_group
1:      mvi 0(%r8), 6
        leave 0
    """
    assert run(guest, source).status == 6


def test_a_thread_that_begins_another_program_is_alone_then(guest: Guest390) -> None:
    source = """
        lghi %r2, 0
        lgfi %r3, 0x10f00
        sys clone
        ltgr %r2, %r2
        jz 1f
        sys pause
1:      larl %r2, path
        larl %r3, words
        lghi %r4, 0
        sys execve
        leave 99
path:   .asciz "/bin/fail"
        .balign 8
words:  .quad path, 0
    """
    assert run(guest, source) == Ended(3, b"failing\n")


def test_a_futex_is_waited_for_until_its_time(guest: Guest390) -> None:
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
    assert run(guest, source).status == ETIMEDOUT


def test_a_thread_wakes_another_one(guest: Guest390) -> None:
    source = """
        lghi %r2, 0
        lgfi %r3, 0x10f00
        sys clone
        ltgr %r2, %r2
        jz 1f
        larl %r8, status
2:      lgr %r2, %r8
        lghi %r3, 0
        lghi %r4, 0
        lghi %r5, 0
        sys futex
        lt %r2, 0(%r8)
        jz 2b
        leave 4
1:      sleep 5
        larl %r2, status
        mvi 3(%r2), 1
        lghi %r3, 1
        lghi %r4, 1
        sys futex
        sys pause
    """
    assert run(guest, source).status == 4


def test_a_thread_whose_code_is_unmapped_while_it_waits_gets_sigsegv(guest: Guest390) -> None:
    source = """
        map_pages 1, 2
        lgr %r8, %r2
        lgr %r9, %r2
        larl %r3, 7f
        mvc 0(16, %r2), 0(%r3)
        lghi %r3, 4096
        lghi %r4, 5
        sys mprotect
        lghi %r2, 0
        lgfi %r3, 0x10f00
        sys clone
        ltgr %r2, %r2
        jz 1f
        sleep 5
        lgr %r2, %r8
        lghi %r3, 4096
        sys munmap
        larl %r2, status
        lghi %r3, 1
        lghi %r4, 1
        sys futex
        sys pause
1:      larl %r2, status
        lghi %r3, 0
        lghi %r4, 0
        lghi %r5, 0
        br %r8
7:      svc futex
        lghi %r2, 1
        svc exit_group
        .balign 8
        .quad 0, 0
    """
    assert run(guest, source).status == 128 + SIGSEGV


@pytest.mark.parametrize(
    ("instruction", "status"),
    [
        (".short 0", 128 + SIGILL),
        ("lghi %r3, 0; dsgr %r2, %r3", 128 + SIGFPE),
        ("lghi %r3, 0; mvi 0(%r3), 1", 128 + SIGSEGV),
        ("lghi %r3, 0; lg %r2, 0(%r3)", 128 + SIGSEGV),
        ("lghi %r3, 0; j 0f; 0: lg %r2, 8(%r3)", 128 + SIGSEGV),
        ("lghi %r3, 0; clc 0(4,%r3), 0(%r3)", 128 + SIGSEGV),
        ("lghi %r2, 0; lghi %r3, 8; lgr %r4, %r2; lgr %r5, %r3; clcl %r2, %r4", 128 + SIGSEGV),
        ("lghi %r3, 0; ex %r0, 0(%r3)", 128 + SIGSEGV),
        ("handle 10; send 10; leave 77; handler: .short 0", 128 + SIGILL),
        ("lghi %r3, 1; cgrt %r3, %r3, 8", 128 + SIGFPE),
        ("larl %r3, _start; mvi 0(%r3), 1", 128 + SIGSEGV),
        ("lghi %r15, 0; br %r15", 128 + SIGSEGV),
        ("send 15", 128 + SIGTERM),
    ],
)
def test_what_ends_a_program(guest: Guest390, instruction: str, status: int) -> None:
    assert run(guest, instruction.replace(";", "\n") + "\nleave 0").status == status


@pytest.mark.parametrize(
    ("instruction", "code"),
    [
        (".short 0", "0000"),
        ("lghi %r3, 0; here: dsgr %r2, %r3", "b90d0023"),
        ("lghi %r3, 0; here: mvi 0(%r3), 1", "92013000"),
        ("lghi %r3, 0; here: mvghi 0(%r3), 1", "e54830000001"),
        ("lghi %r3, 1; here: cgrt %r3, %r3, 8", "b9608033"),
        ("lghi %r15, 0; br %r15", "not readable"),
        (
            f"handle 4, {SA_RESETHAND | SA_NODEFER}; .short 0; handler: send 4; lghi %r2, 7",
            "a7290007",
        ),  # where it went on
    ],
)
def test_the_log_tells_the_instruction_that_failed(guest: Guest390, instruction: str, code: str) -> None:
    run(guest, instruction.replace(";", "\n") + "\nleave 0")
    assert [line.split()[2:] for line in guest.kernel.log.messages("info") if "]: instruction " in line] == [
        code.split()
    ]


def test_a_handler_is_run_and_the_program_goes_on(guest: Guest390) -> None:
    registers = "".join(f"lghi %r{number}, {number + 100}\n" for number in (6, 7, 8, 9, 10, 11, 12, 13))
    compared = "".join(f"cghi %r{number}, {number + 100}\njne 9f\n" for number in (6, 7, 8, 9, 10, 11, 12, 13))
    source = f"""
        handle 10
        {registers}
        send 10
        {compared}
        {LEAVE_WITH_COUNT}
9:      leave 77
handler:
        larl %r1, count
        agsi 0(%r1), 1
        lghi %r6, 1
        lmg %r7, %r13, 0(%r1)
        br %r14
    """
    assert run(guest, source).status == 1


@pytest.mark.parametrize(
    ("instruction", "code"),
    [
        ("lghi %r3, 1; cgrt %r3, %r3, 8", 0),  # a data exception whose code is no IEEE exception's
        ("lghi %r3, 1; lghi %r2, 0; dsgr %r2, %r2", 1),
        ("llilh %r3, 0x8000; sfpc %r3; lzdr %f0; lzdr %f2; ddbr %f0, %f2; ddbr %f2, %f2", 7),
        ("llilh %r3, 0x4000; sfpc %r3; lghi %r3, 1; lzdr %f0; cdgbr %f2, %r3; ddbr %f2, %f0", 3),
    ],
)
def test_a_handler_learns_why_sigfpe_came(guest: Guest390, instruction: str, code: int) -> None:
    source = f"""
        handle 8, 4
        {instruction}
        leave 77
handler:
        llgf %r2, 8(%r3)
        svc exit_group
    """
    assert run(guest, source.replace(";", "\n")).status == code


def test_a_handler_returns_to_the_program_mask(guest: Guest390) -> None:
    source = """
        handle 10
        llilh %r2, 0x2a00
        spm %r2
        send 10
        lghi %r2, 0
        ipm %r2
        srlg %r2, %r2, 24
        nill %r2, 0xf
        svc exit_group
handler:
        lghi %r2, 0
        spm %r2
        br %r14
    """
    assert run(guest, source).status == 0xA


def test_a_handler_learns_the_code_and_the_address_of_a_fault(guest: Guest390) -> None:
    source = """
        handle 11
        larl %r3, 0f
        mvi 0(%r3), 1
        leave 77
0:      .quad 0
handler:
        larl %r5, 0b
        lg %r6, 16(%r3)
        nill %r5, 0xf000
        nill %r6, 0xf000
        cgr %r5, %r6
        jne 9f
        lgf %r2, 8(%r3)
        svc exit_group
9:      leave 78
    """
    assert run(guest, source).status == 2  # SEGV_ACCERR


@pytest.mark.parametrize(("stack", "status"), [("0", 5), ("4096", 5)])
def test_a_handler_has_an_alternate_stack(guest: Guest390, stack: str, status: int) -> None:
    source = f"""
        larl %r2, 7f
        lghi %r3, 0
        sys sigaltstack
        handle 11, {SA_ONSTACK}
        lghi %r15, {stack}
        stg %r2, 0(%r15)
        leave 77
handler:
        larl %r2, spare
        larl %r3, spare_end
        cgr %r15, %r2
        jl 9f
        cgr %r15, %r3
        jh 9f
        leave 5
9:      leave 78
        .balign 8
7:      .quad spare, 0, 8192
    """
    assert run(guest, source).status == status


def test_without_an_alternate_stack_a_bad_stack_ends_the_program(guest: Guest390) -> None:
    source = """
        handle 11
        lghi %r15, 0
        stg %r2, 0(%r15)
        leave 77
handler:
        leave 5
    """
    assert run(guest, source).status == 128 + SIGSEGV


@pytest.mark.parametrize(("flags", "status"), [(SA_RESTART, 16 + 1), (0, 16 + EINTR)])
def test_a_read_is_made_again_after_a_handler_that_says_so(guest: Guest390, flags: int, status: int) -> None:
    source = f"""
        larl %r2, ends
        sys pipe
        handle 10, {flags}
        sys getpid
        lgr %r8, %r2
        sys fork
        ltgr %r2, %r2
        jz 1f
        lgfrl %r2, ends
        larl %r3, byte
        lghi %r4, 1
        sys read
        lpgr %r2, %r2
        lgrl %r3, count
        sllg %r3, %r3, 4
        agr %r2, %r3
        svc exit_group
1:      sleep 5
        lgr %r2, %r8
        lghi %r3, 10
        sys kill
        sleep 5
        larl %r3, ends
        lgf %r2, 4(%r3)
        larl %r3, byte
        lghi %r4, 1
        sys write
        leave 0
        {COUNTING_HANDLER}
    """
    ended = guest.run_code(assemble(source))
    assert ended.status == status


@pytest.mark.parametrize(("flags", "deepest"), [(0, 1), (SA_NODEFER, 4)])
def test_a_handler_is_interrupted_by_its_own_signal_only_if_it_says_so(
    guest: Guest390, flags: int, deepest: int
) -> None:
    source = f"""
        lghi %r8, 0
        lghi %r9, 0
        handle 10, {flags}
        send 10
        lgrl %r2, deepest
        svc exit_group
handler:
        aghi %r15, -16
        stg %r14, 0(%r15)
        aghi %r9, 1
        lgrl %r3, deepest
        cgr %r9, %r3
        jnh 1f
        stgrl %r9, deepest
1:      lgrl %r3, count
        cghi %r3, 3
        je 2f
        larl %r1, count
        agsi 0(%r1), 1
        send 10
2:      lg %r14, 0(%r15)
        aghi %r15, 16
        br %r14
    """
    assert run(guest, source).status == deepest


def test_a_handler_that_is_reset_runs_once(guest: Guest390) -> None:
    source = f"handle 10, {SA_RESETHAND}\nsend 10\nsend 10\n{LEAVE_WITH_COUNT}{COUNTING_HANDLER}"
    assert run(guest, source).status == 128 + 10


def test_a_blocked_signal_waits_and_comes_once(guest: Guest390) -> None:
    source = f"""
        handle 10
        block 0x200
        send 10
        send 10
        lgrl %r2, count
        ltgr %r2, %r2
        jnz 9f
        block 0
        {LEAVE_WITH_COUNT}
9:      leave 77
        {COUNTING_HANDLER}
    """
    assert run(guest, source).status == 1


def test_sigsuspend_lets_a_signal_in_and_blocks_it_again(guest: Guest390) -> None:
    source = f"""
        handle 10
        block 0x200
        send 10
        larl %r2, 7f
        lghi %r3, 8
        sys rt_sigsuspend
        lcgr %r8, %r2
        send 10
        lgrl %r2, count
        sllg %r2, %r2, 4
        agr %r2, %r8
        svc exit_group
        .balign 8
7:      .quad 0
        {COUNTING_HANDLER}
    """
    assert run(guest, source).status == 16 + EINTR


def test_a_child_stops_goes_on_and_ends(guest: Guest390) -> None:
    source = """
        sys fork
        lgr %r9, %r2
        ltgr %r2, %r2
        jz 1f
        wait_for 2
        lgfrl %r4, status
        cgfi %r4, 0x137f
        jne 9f
        lgr %r2, %r9
        lghi %r3, 18
        sys kill
        wait_for 8
        lgfrl %r4, status
        cgfi %r4, 0xffff
        jne 9f
        wait_for
        larl %r3, status
        llgc %r2, 2(%r3)
        svc exit_group
1:      send 19
        leave 3
9:      leave 77
    """
    assert run(guest, source).status == 3


def test_poll_ends_with_its_time(guest: Guest390) -> None:
    source = """
        larl %r2, ends
        lghi %r3, 0
        lghi %r4, 1
        sys poll
        aghi %r2, 9
        svc exit_group
    """
    assert run(guest, source).status == 9

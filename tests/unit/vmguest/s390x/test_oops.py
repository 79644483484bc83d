"""An error of the guest kernel's own ends the program that it served: the others, and the guest, go on."""

from collections.abc import Callable

import pytest
from guest390_support import Ended, Guest390

from vmguest.fs.open import open_file
from vmguest.s390x.calls.all import CALLS
from vmguest.s390x.calls.numbers import NUMBERS
from vmguest.s390x.process import Process, Waiting

SIGSEGV = 11
DIED = 128 + SIGSEGV


def fail(*_parameters: object) -> int:
    """Be a part of the kernel that nobody has tested."""
    raise ZeroDivisionError("nobody thought of that")


def fail_in(guest: Guest390, monkeypatch: pytest.MonkeyPatch, name: str, who: Callable[[], Process]) -> None:
    """Have a system call of one process fail."""
    call = CALLS[NUMBERS[name]]

    def function(*arguments: object) -> int | None:
        current = guest.system.scheduler.current
        return (fail if current is not None and current.process is who() else call.function)(*arguments)

    monkeypatch.setitem(CALLS, call.number, call._replace(function=function))


def tainted(guest: Guest390) -> bytes:
    buffer = bytearray(16)
    with open_file(guest.kernel.vfs, b"/proc/sys/kernel/tainted", 0) as file:
        return bytes(buffer[: file.read(memoryview(buffer))])


def oopses(guest: Guest390) -> list[str]:
    return [line for line in guest.kernel.log.messages("err") if "Oops: " in line]


def test_a_call_that_fails_so_is_the_end_of_its_program_alone(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    before, clean = guest.held()._replace(free_bytes=0), tainted(guest)
    other, failing = guest.start(b"/bin/pause"), guest.start(b"/bin/hello")
    fail_in(guest, monkeypatch, "write", lambda: failing)
    assert guest.finish(failing) == DIED
    assert guest.run(b"/bin/hello") == Ended(0, b"hello\n")
    assert other.ended is None
    guest.programs.end(other)
    assert guest.held()._replace(free_bytes=0) == before
    assert (clean, tainted(guest)) == (b"0\n", b"128\n")
    assert guest.kernel.counters().oopses == 1


def test_the_log_tells_the_error_where_it_was_and_the_programs_registers(
    guest: Guest390, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = guest.start(b"/bin/hello")
    fail_in(guest, monkeypatch, "write", lambda: failing)
    guest.finish(failing)
    who = f"hello[{failing.pid}]: "
    first, *places, last = oopses(guest)
    assert first == f"{who}Oops: the guest kernel failed: ZeroDivisionError: nobody thought of that"
    assert places[-1].startswith(f"{who}Oops: ")
    assert places[-1].endswith(" in fail")
    assert any("vmguest.s390x.traps:" in place for place in places)
    assert last == f"{who}Oops: the guest is tainted; it has failed 1 times since it booted"
    told = guest.kernel.log.messages("info")
    assert any(line.startswith(f"{who}SIGSEGV at 0x1000") for line in told)
    assert any(line.startswith(f"{who}instruction 0a04") for line in told)


def test_what_is_waited_for_may_fail_too(guest: Guest390) -> None:
    for waiting in (Waiting(lambda: fail() > 0), Waiting(lambda: False, alarm=lambda: float(fail()))):
        failing = guest.start(b"/bin/pause")
        guest.programs.run(lambda failing=failing: bool(failing.threads[0].waiting))  # type: ignore[misc]
        failing.threads[0].waiting = waiting
        assert guest.finish(failing) == DIED
    assert len([line for line in oopses(guest) if "ZeroDivisionError" in line]) == 2


def test_a_parent_learns_of_it(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, failing = guest.start(b"/bin/pause"), guest.start(b"/bin/hello")
    failing.parent = parent
    parent.children.append(failing)
    fail_in(guest, monkeypatch, "write", lambda: failing)
    assert guest.finish(failing) == DIED
    assert guest.system.table.processes[failing.pid] is failing
    assert failing.ended is not None
    assert failing.ended.packed == SIGSEGV


def test_an_end_that_fails_is_an_end(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it fails, the rest is given back, and whoever waits is told."""
    before = guest.held()._replace(free_bytes=0)
    parent, failing = guest.start(b"/bin/pause"), guest.start(b"/bin/hello")
    failing.parent = parent
    parent.children.append(failing)
    failing.at_end.append(lambda: (fail(), None)[1])
    assert guest.finish(failing) == 0
    assert not failing.threads
    assert guest.run(b"/bin/hello") == Ended(0, b"hello\n")
    guest.programs.end(parent)
    assert guest.held()._replace(free_bytes=0) == before
    assert oopses(guest)


def test_a_timer_that_fails_is_nobodys_end(guest: Guest390) -> None:
    other = guest.start(b"/bin/pause")
    guest.system.timers.at(0.0, lambda: (fail(), None)[1])
    assert guest.run(b"/bin/hello") == Ended(0, b"hello\n")
    assert other.ended is None
    assert oopses(guest)[0].startswith("kernel: Oops: ")


def test_the_host_that_is_gone_is_no_error_of_the_kernels(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = guest.start(b"/bin/hello")

    def gone(*_arguments: object) -> int:
        raise BrokenPipeError("nobody takes it")

    call = CALLS[NUMBERS["write"]]
    monkeypatch.setitem(CALLS, call.number, call._replace(function=gone))
    with pytest.raises(BrokenPipeError):
        guest.finish(writing)
    assert not oopses(guest)

"""A program with which the emulator cannot go on is ended; the others of the guest, and the guest, go on."""

import pytest
from elf390_support import loop
from guest390_support import Ended, Guest390
from unicorn import UC_ERR_EXCEPTION, UcError

from vmguest.s390x.process import Process

SIGILL = 4


def fail_with(guest: Guest390, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the emulator fail when it is to run a program."""
    cpu, scheduler = guest.system.cpu, guest.system.scheduler
    start = cpu._uc.emu_start

    def fail(*arguments: int, **named: int) -> None:
        thread = scheduler.current
        if thread is not None and thread.process is process:
            raise UcError(UC_ERR_EXCEPTION)  # type: ignore[no-untyped-call]
        start(*arguments, **named)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(cpu._uc, "emu_start", fail)


def test_it_is_the_end_of_that_program_alone(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    before = guest.held()._replace(free_bytes=0)
    other, failing = guest.start(b"/bin/pause"), guest.start(guest.put("loop", loop()))
    fail_with(guest, failing, monkeypatch)
    assert guest.finish(failing) == 128 + SIGILL
    assert other.ended is None
    assert guest.run(b"/bin/hello") == Ended(0, b"hello\n")
    guest.programs.end(other)
    assert guest.held()._replace(free_bytes=0) == before


def test_the_log_tells_where(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = guest.start(guest.put("loop", loop()))
    fail_with(guest, failing, monkeypatch)
    guest.finish(failing)
    told = [line for line in guest.kernel.log.messages() if line.startswith(f"loop[{failing.pid}]:")]
    assert "the emulator failed: the CPU stopped at 0x1000078" in told[0]
    assert told[1] == f"loop[{failing.pid}]: SIGILL at 0x1000078 in /tmp/loop+0x78"
    assert told[-1].endswith("instruction a7f40000")


def test_a_parent_learns_of_it(guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = guest.start(b"/bin/pause")
    failing = guest.start(guest.put("loop", loop()))
    failing.parent = parent
    parent.children.append(failing)
    fail_with(guest, failing, monkeypatch)
    assert guest.finish(failing) == 128 + SIGILL
    assert guest.system.table.processes[failing.pid] is failing

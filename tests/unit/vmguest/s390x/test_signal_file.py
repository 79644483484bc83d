"""What is read from a signalfd, field by field as struct signalfd_siginfo has it, and who wakes up for it."""

from struct import pack, unpack_from

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.fs.open import O_NONBLOCK
from vmguest.fs.poll import POLLIN
from vmguest.s390x.signal_file import INFO_BYTES, SignalFile
from vmguest.s390x.signals import SI_QUEUE, SI_TIMER, SIGCHLD, SIGKILL, SIGSEGV, SIGUSR1, SignalInfo, bit

VALUE = 0x0000_0037_0000_0011


@pytest.mark.parametrize(
    ("info", "fields"),
    [  # number, code, process, user, timer, overrun, status, value as a number, value, user time, address
        (SignalInfo.sent(SIGUSR1, 7, 8), (SIGUSR1, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0)),
        (SignalInfo(SIGUSR1, SI_QUEUE, pack(">iIQ", 7, 8, VALUE)), (SIGUSR1, -1, 7, 8, 0, 0, 0, 0x37, VALUE, 0, 0)),
        (SignalInfo(SIGUSR1, SI_TIMER, pack(">iiQ", 3, 2, VALUE)), (SIGUSR1, -2, 0, 0, 3, 2, 0, 0x37, VALUE, 0, 0)),
        (SignalInfo.child(1, 7, 8, 9), (SIGCHLD, 1, 7, 8, 0, 0, 9, 0, 0, 0, 0)),
        (SignalInfo.fault(SIGSEGV, 1, VALUE), (SIGSEGV, 1, 0, 0, 0, 0, 0, 0, 0, 0, VALUE)),
    ],
)
def test_fields(guest: Guest390, info: SignalInfo, fields: tuple[int, ...]) -> None:
    caller = Caller(guest)
    file = SignalFile(bit(info.number), lambda: caller.thread)
    caller.process.pending.add(info)
    buffer = bytearray(2 * INFO_BYTES)
    assert file.read(0, memoryview(buffer)) == INFO_BYTES
    number, _, code, pid, uid, _, timer, _, overrun, _, status, value, whole, user, _, address = unpack_from(
        ">IiiIIiIIIIiiQQQQ", buffer
    )
    assert (number, code, pid, uid, timer, overrun, status, value, whole, user, address) == fields


def test_it_is_ready_for_whom_the_signal_is(guest: Guest390) -> None:
    one, other = Caller(guest), Caller(guest)
    current = [one.thread]
    file = SignalFile(bit(SIGUSR1), lambda: current[0] if current else None)
    assert file.poll() == 0
    one.process.pending.add(SignalInfo.sent(SIGUSR1, 1, 0))
    assert file.poll() == POLLIN
    current[0] = other.thread
    assert file.poll() == 0
    current.clear()
    assert file.poll() == POLLIN, "somebody who has asked has one"


def test_signals_that_cannot_be_blocked_are_left_out(guest: Guest390) -> None:
    caller = Caller(guest)
    number = caller.call("signalfd4", -1, pack(">Q", bit(SIGKILL) | bit(SIGUSR1)), 8, O_NONBLOCK)
    assert number is not None
    file = caller.process.files.get(number).file
    assert isinstance(file, SignalFile)
    assert file.mask == bit(SIGUSR1)

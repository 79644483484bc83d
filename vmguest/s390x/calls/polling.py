"""System calls that wait for several files, and for threads."""

from collections.abc import Iterable
from errno import EAGAIN, EBADF, EINVAL, ENOSYS
from time import monotonic

from dcss.errors import KernelError
from vmguest.fs.open import FileDescription
from vmguest.fs.poll import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.signal_calls import set_mask
from vmguest.s390x.calls.structures import POLLFD, TIMEVAL, ULONG
from vmguest.s390x.calls.times import deadline_in, is_over, read_timeout
from vmguest.s390x.futexes import ANY
from vmguest.s390x.process import Process, Thread, WaitError
from vmguest.s390x.system import System

CALLS = CallGroup()
_ALWAYS = POLLERR | POLLHUP
_SET_READ = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR
_SET_WRITE = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR
_SET_EXCEPT = POLLPRI


def _ready(process: Process, wanted: Iterable[tuple[int, int]]) -> list[int]:
    """Return what each descriptor can do of the events that are asked for."""
    found = []
    for number, events in wanted:
        if number < 0:
            found.append(0)
            continue
        try:
            file = process.files.get(number)
        except KernelError:
            found.append(POLLNVAL)
            continue
        found.append(file.poll() & (events | _ALWAYS))
    return found


def _alarm(process: Process, wanted: Iterable[tuple[int, int]]) -> float | None:
    """Return in how many seconds time alone may make a file ready."""
    files = (_file(process, number) for number, _ in wanted)
    alarms = (None if file is None else file.alarm_seconds() for file in files)
    return min((seconds for seconds in alarms if seconds is not None), default=None)


def _file(process: Process, number: int) -> FileDescription | None:
    try:
        return process.files.get(number)
    except KernelError:
        return None


def _poll(thread: Thread, address: int, count: int, seconds: float | None) -> int:
    process, space = thread.process, thread.process.space
    if not 0 <= count <= process.files.limit:
        raise KernelError(EINVAL, f"poll of {count} descriptors")
    packed = space.read(address, count * POLLFD.size)
    wanted = [(number, events & 0xFFFF) for number, events, _ in POLLFD.iter_unpack(packed)]
    deadline = deadline_in(thread, seconds)
    found = _ready(process, wanted)
    if not any(found) and not is_over(deadline):
        raise WaitError(
            lambda: any(_ready(process, wanted)), deadline, restart=False, alarm=lambda: _alarm(process, wanted)
        )
    results = (
        POLLFD.pack(number, _short(events), _short(got)) for (number, events), got in zip(wanted, found, strict=True)
    )
    space.write(address, b"".join(results))
    return sum(map(bool, found))


def _short(value: int) -> int:
    return value - 0x10000 if value & 0x8000 else value


@CALLS.add("address", "uint", "int")
def poll(_system: System, thread: Thread, address: int, count: int, milliseconds: int) -> int:
    """Wait until one of several files can do something."""
    return _poll(thread, address, count, None if milliseconds < 0 else milliseconds / 1000)


@CALLS.add("address", "uint", "address", "address", "size")
def ppoll(_system: System, thread: Thread, address: int, count: int, timeout: int, mask: int, _size: int) -> int:
    """Wait until one of several files can do something, with other signals blocked."""
    seconds = read_timeout(thread, timeout)
    set_mask(thread, mask)
    return _poll(thread, address, count, seconds)


def _select(thread: Thread, count: int, sets: tuple[int, int, int], seconds: float | None) -> int:
    process, space = thread.process, thread.process.space
    if count < 0:
        raise KernelError(EINVAL, f"select of {count} descriptors")
    count = min(count, process.files.limit)
    size_bytes = -(-count // 64) * 8
    kinds = (_SET_READ, _SET_WRITE, _SET_EXCEPT)
    chosen = [_numbers(space.read(each, size_bytes)) if each else [] for each in sets]
    wanted = [
        (number, events) for numbers, events in zip(chosen, kinds, strict=True) for number in numbers if number < count
    ]
    for number, _ in wanted:
        if _file(process, number) is None:
            raise KernelError(EBADF, f"select of descriptor {number}: not open")
    deadline = deadline_in(thread, seconds)
    found = [got & events for got, (_, events) in zip(_ready(process, wanted), wanted, strict=True)]
    if not any(found) and not is_over(deadline):
        raise WaitError(
            lambda: any(got & events for got, (_, events) in zip(_ready(process, wanted), wanted, strict=True)),
            deadline,
            restart=False,
            alarm=lambda: _alarm(process, wanted),
        )
    ready = {(number, events) for (number, events), got in zip(wanted, found, strict=True) if got}
    for address, events in zip(sets, kinds, strict=True):
        if address:
            space.write(address, _bits([number for number, each in ready if each == events], size_bytes))
    return len(ready)


def _numbers(packed: bytes) -> list[int]:
    """Return the descriptors of an fd_set: bits of doublewords, lowest first."""
    found = []
    for index, (word,) in enumerate(ULONG.iter_unpack(packed)):
        found += [index * 64 + bit for bit in range(word.bit_length()) if word >> bit & 1]
    return found


def _bits(numbers: Iterable[int], size_bytes: int) -> bytes:
    words = [0] * (size_bytes // 8)
    for number in numbers:
        words[number // 64] |= 1 << number % 64
    return b"".join(map(ULONG.pack, words))


@CALLS.add("int", "address", "address", "address", "address")
def select(_system: System, thread: Thread, count: int, read: int, write: int, other: int, timeout: int) -> int:
    """Wait until one of several files can do something."""
    seconds = None
    if timeout:
        whole, part = TIMEVAL.unpack(thread.process.space.read(timeout, TIMEVAL.size))
        seconds = whole + part / 1e6
        if seconds < 0:
            raise KernelError(EINVAL, f"select: {seconds} s")
    return _select(thread, count, (read, write, other), seconds)


@CALLS.add("int", "address", "address", "address", "address", "address")
def pselect6(
    _system: System, thread: Thread, count: int, read: int, write: int, other: int, timeout: int, mask: int
) -> int:
    """Wait until one of several files can do something, with other signals blocked."""
    seconds = read_timeout(thread, timeout)
    if mask:
        address, _ = (int.from_bytes(thread.process.space.read(mask + at, 8), "big") for at in (0, 8))
        set_mask(thread, address)
    return _select(thread, count, (read, write, other), seconds)


# -- futex -------------------------------------------------------------------------------------------------------------

_FUTEX_WAIT, _FUTEX_WAKE, _FUTEX_REQUEUE, _FUTEX_CMP_REQUEUE, _FUTEX_WAKE_OP = 0, 1, 3, 4, 5
_FUTEX_WAIT_BITSET, _FUTEX_WAKE_BITSET = 9, 10
_FUTEX_PRIVATE, _FUTEX_CLOCK_REALTIME, _FUTEX_COMMAND = 128, 256, 127


@CALLS.add("address", "int", "uint", "address", "address", "uint")
def futex(
    system: System, thread: Thread, address: int, operation: int, value: int, fourth: int, other: int, sixth: int
) -> int:
    """Wait for a word to change, or wake those who do."""
    futexes, space = system.futexes, thread.process.space
    command, private = operation & _FUTEX_COMMAND, bool(operation & _FUTEX_PRIVATE)
    if address % 4:
        raise KernelError(EINVAL, f"futex at {address:#x}")
    if command in {_FUTEX_WAIT, _FUTEX_WAIT_BITSET}:
        seconds = read_timeout(thread, fourth)
        if seconds is not None and command == _FUTEX_WAIT_BITSET:
            seconds -= system.now() if operation & _FUTEX_CLOCK_REALTIME else monotonic()
        bits = sixth if command == _FUTEX_WAIT_BITSET else ANY
        if not bits:
            raise KernelError(EINVAL, "futex without bits")
        return futexes.wait(thread, address, value, deadline_in(thread, seconds), private=private, bits=bits)
    key = futexes.key(space, address, private=private)
    if command in {_FUTEX_WAKE, _FUTEX_WAKE_BITSET}:
        return futexes.wake(key, value, sixth if command == _FUTEX_WAKE_BITSET else ANY)
    other_key = futexes.key(space, other, private=private)
    if command in {_FUTEX_REQUEUE, _FUTEX_CMP_REQUEUE}:
        if command == _FUTEX_CMP_REQUEUE and int.from_bytes(space.read(address, 4), "big") != sixth:
            raise KernelError(EAGAIN, f"futex at {address:#x}: has another value")
        woken = futexes.wake(key, value)
        return woken + futexes.requeue(key, other_key, fourth & 0x7FFF_FFFF)
    if command == _FUTEX_WAKE_OP:
        woken = futexes.wake(key, value)
        if _changed(thread, other, sixth):
            woken += futexes.wake(other_key, fourth & 0x7FFF_FFFF)
        return woken
    raise KernelError(ENOSYS, f"futex operation {command}")


def _changed(thread: Thread, address: int, encoded: int) -> bool:
    """Change a word as FUTEX_WAKE_OP encodes it; return whether its old value compares as wanted."""
    space = thread.process.space
    operation, comparison = encoded >> 28 & 0xF, encoded >> 24 & 0xF
    operand, compared = _signed12(encoded >> 12), _signed12(encoded)
    if operation & 8:
        operand = 1 << (operand & 31)
    old = int.from_bytes(space.read(address, 4), "big", signed=True)
    results = (operand, old + operand, old | operand, old & ~operand, old ^ operand)
    if (operation & 7) >= len(results) or comparison >= 6:
        raise KernelError(ENOSYS, f"futex operation {encoded:#x}")
    space.write(address, (results[operation & 7] & ANY).to_bytes(4, "big"))
    return (old == compared, old != compared, old < compared, old <= compared, old > compared, old >= compared)[
        comparison
    ]


def _signed12(value: int) -> int:
    value &= 0xFFF
    return value - 0x1000 if value & 0x800 else value

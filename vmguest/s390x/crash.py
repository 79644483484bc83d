"""What the guest's log says of a program that a fault ended: where, with what, and who called."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest.fs.open import FileDescription
from vmguest.s390x.process import Thread
from vmguest.s390x.signals import name_of
from vmguest.s390x.space import FaultError, UserSpace
from vmguest.s390x.wrong_instructions import instruction_bytes

_LINE_REGISTERS = 4
_MOST_FRAMES = 8


class Crash(NamedTuple):
    """A fault that may end a program: the signal, where the instruction stands, and why, where that is known.

    The PSW is behind the instruction where Linux leaves it there, as for SIGILL and SIGFPE.
    """

    thread: Thread
    number: int
    at: int
    reason: str = ""


def report(crash: Crash, general: Sequence[int]) -> Iterator[str]:
    """Yield the lines: the signal and the place, the registers, the instruction, the callers that are known."""
    process, space = crash.thread.process, crash.thread.process.space
    name = process.name.decode(errors="replace")
    reason = f": {crash.reason}" if crash.reason else ""
    yield f"{name}[{process.pid}]: {name_of(crash.number)} at {crash.at:#x}{_where(space, crash.at)}{reason}"
    for first in range(0, len(general), _LINE_REGISTERS):
        words = " ".join(f"{value:016x}" for value in general[first : first + _LINE_REGISTERS])
        yield f"{name}[{process.pid}]: r{first:<2} {words}"
    try:
        code = space.read(crash.at, instruction_bytes(space.read(crash.at, 1)[0])).hex()
    except FaultError:
        code = "not readable"
    yield f"{name}[{process.pid}]: instruction {code}"
    for caller in _callers(space, general[14], general[15]):
        yield f"{name}[{process.pid}]: called from {caller:#x}{_where(space, caller)}"


def _callers(space: UserSpace, link: int, pointer: int) -> Iterator[int]:
    """Yield return addresses: register 14, then those of the save areas that a back chain links, where there is one."""
    if link:
        yield link
    for _ in range(_MOST_FRAMES):
        try:
            chained = int.from_bytes(space.read(pointer, 8), "big")
            if not pointer < chained < pointer + (1 << 20):
                return
            yield int.from_bytes(space.read(chained + 112, 8), "big")
        except FaultError:
            return
        pointer = chained


def _where(space: UserSpace, address: int) -> str:
    area = space.areas.find(address >> PAGE_SHIFT)
    if area is None or not isinstance(area.file, FileDescription):
        return ""
    offset = (area.file_page - area.first_page) * PAGE_SIZE + address
    return f" in {area.file.dentry.path.decode(errors='replace')}+{offset:#x}"

"""How system calls are declared: a function each, and the kinds of its parameters, which also say how to trace it."""

from collections.abc import Callable
from typing import NamedTuple

from vmguest.s390x.calls.numbers import NUMBERS
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

DONE = None  # the result of a call that has set the registers itself

_INT, _WIDE = 1 << 31, 1 << 63
_FIRST_PARAMETER = 2  # behind the instruction's address and register 1


def _int(value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value & _INT else value


def _uint(value: int) -> int:
    return value & 0xFFFF_FFFF


def _long(value: int) -> int:
    return value - (1 << 64) if value & _WIDE else value


# A parameter's kind, and what makes the register's 64 bits the number that C has. None: as they are.
KINDS: dict[str, Callable[[int], int] | None] = {
    "int": _int,
    "fd": _int,
    "at": _int,  # a descriptor of a directory, or AT_FDCWD
    "pid": _int,
    "signal": _int,
    "uint": _uint,
    "mode": _uint,
    "flags": _int,
    "open": _int,  # flags of open(2)
    "long": _long,
    "ulong": None,
    "size": None,
    "address": None,
    "path": None,  # the address of a string that ends with a zero byte
    "data": None,  # the address of bytes, as many as the parameter behind it says
    "buffer": None,  # where as many bytes are stored as the result says
}

Function = Callable[..., int | None]


class SystemCall(NamedTuple):
    """One system call. It is given the system and the calling thread, then its parameters."""

    name: str
    number: int
    function: Function
    kinds: tuple[str, ...]
    conversions: tuple[tuple[int, Callable[[int], int]], ...]  # of which parameters: those that are no 64-bit numbers

    def __call__(self, system: System, thread: Thread, registers: list[int]) -> int | None:
        """Make the call; its parameters are in registers 2 to 7, which stand behind the instruction's address.

        Raises KernelError, WaitError.
        """
        kinds = self.kinds
        if not kinds:
            return self.function(system, thread)
        values = registers[_FIRST_PARAMETER : _FIRST_PARAMETER + len(kinds)]
        for index, convert in self.conversions:
            values[index] = convert(values[index])
        return self.function(system, thread, *values)


class CallGroup:
    """System calls of one subject."""

    def __init__(self) -> None:
        self.calls: list[SystemCall] = []

    def add(self, *kinds: str, name: str | None = None) -> Callable[[Function], Function]:
        """Declare a function as the system call of its name, with parameters of these kinds."""

        def declare(function: Function) -> Function:
            called = name or function.__name__.rstrip("_")
            conversions = ((index, KINDS[kind]) for index, kind in enumerate(kinds))
            needed = tuple((index, convert) for index, convert in conversions if convert is not None)
            self.calls.append(SystemCall(called, NUMBERS[called], function, kinds, needed))
            return function

        return declare

"""Prove that the installed Unicorn does what `vmguest.s390x.cpu` relies on, by small programs in a storage of its own.

Two things are not in its documentation: where a saved context has the interruption code, and that a stop from another
thread comes between two instructions. The first is an error where it is not so. Without the second, stops are asked for
by a hook at each block, which is slower and documented.
"""

import mmap
import struct
import threading
from ctypes import addressof, c_char
from functools import cache
from time import monotonic

from dcss.abi.page import PAGE_SIZE
from vmguest.s390x.cpu import FIXED_POINT_DIVIDE, OPERATION, Cpu, CpuError

_ABSOLUTE_BYTES = 1 << 20
_ROOT, _SEGMENTS, _PAGES, _CODE, _DATA = 0x4000, 0x8000, 0xC000, 0x10000, 0x11000
_CODE_AT, _DATA_AT = 0x1000, 0x2000  # user addresses
# lg %r1,0(%r2); agsi 0(%r2),1; agsi 8(%r2),1; aghi %r3,1; j back
_LOOP = bytes.fromhex("e31020000004eb012000007aeb012008007aa73b0001a7f4fff5")
_ILLEGAL, _DIVIDE = bytes.fromhex("0000"), bytes.fromhex("1d24")  # the second: dr %r2,%r4
_STOPS, _STOP_SECONDS, _PATIENCE_SECONDS = 40, 0.0003, 60.0


@cache
def stops_are_exact() -> bool:
    """Return what `prove` finds, once for this process and those forked from it."""
    return prove()


def prove(cpu_of: type[Cpu] = Cpu) -> bool:
    """Return whether the private field makes stops exact. Raises CpuError where codes are not found."""
    with mmap.mmap(-1, _ABSOLUTE_BYTES) as storage:
        held = (c_char * _ABSOLUTE_BYTES).from_buffer(storage)
        try:
            cpu = cpu_of(addressof(held), _ABSOLUTE_BYTES)
            _make_tables(storage)
            _prove_codes(cpu, storage)
            return _stops_are_exact(cpu, storage)
        finally:
            del held


def _make_tables(storage: mmap.mmap) -> None:
    """Make tables in which user page 1 is the code, and user page 2 the data."""
    for table, invalid, entries in ((_ROOT, 0x24, 2048), (_SEGMENTS, 0x20, 2048), (_PAGES, 0x400, 256)):
        storage[table : table + 8 * entries] = struct.pack(">Q", invalid) * entries
    for address, entry in (
        (_ROOT, _SEGMENTS | 7),
        (_SEGMENTS, _PAGES),
        (_PAGES + 8 * (_CODE_AT // PAGE_SIZE), _CODE),
        (_PAGES + 8 * (_DATA_AT // PAGE_SIZE), _DATA),
    ):
        storage[address : address + 8] = struct.pack(">Q", entry)


def _prepare(cpu: Cpu, storage: mmap.mmap, code: bytes) -> None:
    storage[_CODE : _CODE + len(code)] = code
    cpu.forget_code()
    cpu.load(cpu.new_context(_ROOT | 7, _CODE_AT, 0))
    cpu.purge()
    cpu.set_general(2, _DATA_AT)


def _prove_codes(cpu: Cpu, storage: mmap.mmap) -> None:
    found: list[int] = []

    def note(code: int) -> bool:
        found.append(code)
        return False

    cpu.on_check = note
    for code in (_ILLEGAL, _DIVIDE):
        _prepare(cpu, storage, code)
        cpu.run()
    if found != [OPERATION, FIXED_POINT_DIVIDE]:
        raise CpuError(f"Unicorn gave interruption codes {found}, wanted 1 and 9; install unicorn 2.1.4")


def _stops_are_exact(cpu: Cpu, storage: mmap.mmap) -> bool:
    """Stop a loop that loads a number and counts it up; return whether each round was done once."""
    storage[_DATA : _DATA + 16] = bytes(16)
    _prepare(cpu, storage, _LOOP)
    stopper = threading.Event()

    def stop() -> None:
        while not stopper.wait(_STOP_SECONDS):
            cpu.stops.request()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        end = monotonic() + _PATIENCE_SECONDS
        for _ in range(_STOPS):
            cpu.run()
            if monotonic() > end or not _is_consistent(cpu, storage):
                return False
        return True
    finally:
        stopper.set()
        thread.join()


def _is_consistent(cpu: Cpu, storage: mmap.mmap) -> bool:
    """Return whether the program is between two rounds, and everything was counted once in each."""
    first, second = struct.unpack_from(">QQ", storage, _DATA)
    return cpu.address == _CODE_AT and first == second == cpu.general(3)

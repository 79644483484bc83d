"""A new program's stack: arguments, environment and auxiliary vector, as fs/binfmt_elf.c lays them out for s390x."""

import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from vmguest.identity import Identity
from vmguest.s390x.space import STACK_BYTES, TASK_SIZE, UserSpace

# <elf.h>
_AT_PHDR, _AT_PHENT, _AT_PHNUM, _AT_PAGESZ, _AT_BASE, _AT_FLAGS, _AT_ENTRY = 3, 4, 5, 6, 7, 8, 9
_AT_UID, _AT_EUID, _AT_GID, _AT_EGID, _AT_PLATFORM, _AT_HWCAP, _AT_CLKTCK = 11, 12, 13, 14, 15, 16, 17
_AT_SECURE, _AT_RANDOM, _AT_EXECFN = 23, 25, 31

# ESAN3 ZARCH STFLE MSA LDISP EIMM ETF3EH HIGH_GPRS. Not VX: Unicorn's VISTR is wrong, and with it wcsspn and others.
HWCAP = 0x33F
PLATFORM = b"z13"
_CLOCK_TICKS = 100
_PROGRAM_HEADER_BYTES = 56
STACK_TOP = TASK_SIZE - PAGE_SIZE
STACK_FIRST = STACK_TOP - STACK_BYTES


class ProgramStart(NamedTuple):
    """What the auxiliary vector tells of a program: user addresses, and who runs it."""

    headers: int
    headers_count: int
    interpreter: int  # where it was loaded, 0 without one
    entry: int
    identity: Identity


def fill_stack(
    space: UserSpace, start: ProgramStart, path: bytes, words: Sequence[bytes], environment: Sequence[bytes]
) -> tuple[int, bytes]:
    """Write the stack; return the stack pointer, and the auxiliary vector. Raises FaultError."""
    strings = [*words, *environment]
    packed = b"\0".join([*strings, path, PLATFORM, b""])
    first = STACK_TOP - 16 - len(packed)
    space.write(first, packed)
    places, place = [], first
    for string in (*strings, path, PLATFORM):
        places.append(place)
        place += len(string) + 1
    random = (first & -16) - 16
    space.write(random, os.urandom(16))
    users, groups = start.identity.users, start.identity.groups
    vector = struct.pack(
        ">36Q",
        *(_AT_PHDR, start.headers, _AT_PHENT, _PROGRAM_HEADER_BYTES, _AT_PHNUM, start.headers_count),
        *(_AT_PAGESZ, PAGE_SIZE, _AT_BASE, start.interpreter, _AT_FLAGS, 0, _AT_ENTRY, start.entry),
        *(_AT_UID, users.real, _AT_EUID, users.effective, _AT_GID, groups.real, _AT_EGID, groups.effective),
        *(_AT_PLATFORM, places[-1], _AT_HWCAP, HWCAP, _AT_CLKTCK, _CLOCK_TICKS),
        *(_AT_SECURE, start.identity.is_raised),
        *(_AT_RANDOM, random, _AT_EXECFN, places[-2], 0, 0),
    )
    count = len(words)
    pointers = struct.pack(
        f">Q{count}QQ{len(environment)}QQ", count, *places[:count], 0, *places[count : len(strings)], 0
    )
    pointer = (random - len(pointers) - len(vector)) & -16
    space.write(pointer, pointers + vector)
    return pointer, vector

"""System calls on shared memory of System V."""

import struct
from errno import EINVAL
from time import time
from typing import Final

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE
from vmguest.s390x.calls.ipc_structures import (
    IPC_64,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    pack_permission,
    read_permission,
)
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.ipc_objects import MAY_CHANGE, MAY_READ
from vmguest.s390x.process import Thread
from vmguest.s390x.shared_segments import SHM_DEST, SharedSegment
from vmguest.s390x.system import System

CALLS = CallGroup()
_SHM_RDONLY, _SHM_RND, _SHM_REMAP, _SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
_SHM_LOCK, _SHM_UNLOCK, _SHM_STAT, _SHM_INFO, _SHM_STAT_ANY = 11, 12, 13, 14, 15
# struct shmid64_ds behind what all three kinds have: size; times; processes; mappings.
_SHMID_DS: Final = struct.Struct(">QqqqiiQ16x")
_SHMINFO: Final = struct.Struct(">5Q32x")  # most bytes of one, least, most ids, most of a process, most pages
_SHM_INFO_STRUCT: Final = struct.Struct(">i4x5Q")  # ids; pages, those resident, those swapped; swap attempts
_MOST_SEGMENTS: Final = 4096  # SHMMNI
_EXECUTE: Final = 1  # beside MAY_READ and MAY_CHANGE


@CALLS.add("int", "size", "flags")
def shmget(system: System, thread: Thread, key: int, size_bytes: int, flags: int) -> int:
    """Find or make a segment of shared memory."""
    process = thread.process
    return system.segments.get(process.credentials, process.pid, key, size_bytes, flags)


@CALLS.add("int", "address", "flags")
def shmat(system: System, thread: Thread, number: int, address: int, flags: int) -> int:
    """Map a segment."""
    process, segment = thread.process, system.segments.find(number)
    if address % PAGE_SIZE:
        if not flags & _SHM_RND:
            raise KernelError(EINVAL, f"shmat at {address:#x}: within a page")
        address -= address % PAGE_SIZE
    if flags & _SHM_REMAP and not address:
        raise KernelError(EINVAL, "shmat: SHM_REMAP without an address")
    writes, executes = not flags & _SHM_RDONLY, flags & _SHM_EXEC
    segment.check(process.credentials, MAY_READ | (MAY_CHANGE if writes else 0) | (_EXECUTE if executes else 0))
    pages = segment.memory.pages
    if address and not flags & _SHM_REMAP and process.space.is_mapped(address >> PAGE_SHIFT, pages):
        raise KernelError(EINVAL, f"shmat at {address:#x}: something is mapped there")
    protection = PROT_READ | (PROT_WRITE if writes else 0) | (PROT_EXEC if executes else 0)
    place = process.space.map(segment.memory, 0, pages, protection, shared=True, address=address or None)
    segment.attached, segment.last_pid = int(time()), process.pid
    return place


@CALLS.add("address")
def shmdt(system: System, thread: Thread, address: int) -> int:
    """Unmap a segment."""
    space, first = thread.process.space, address >> PAGE_SHIFT
    area = None if address % PAGE_SIZE else space.areas.find(first)
    segment = None if area is None or area.file_page else system.segments.of_memory(area.file)
    if area is None or segment is None or area.first_page != first:
        raise KernelError(EINVAL, f"shmdt at {address:#x}: no segment is mapped there")
    for each in list(space.areas):
        if each.file is segment.memory and each.first_page - each.file_page == first:
            space.unmap_pages(each.first_page, each.pages)
    segment.detached, segment.last_pid = int(time()), thread.process.pid
    return 0


@CALLS.add("int", "int", "address")
def shmctl(system: System, thread: Thread, number: int, command: int, buffer: int) -> int:
    """Tell what a segment is, change its owner and mode, or remove it."""
    command &= ~IPC_64
    space, user, segments = thread.process.space, thread.process.credentials, system.segments
    if command == IPC_INFO:
        pages = system.kernel.machine.storage.size_bytes >> PAGE_SHIFT
        space.write(buffer, _SHMINFO.pack(pages << PAGE_SHIFT, 1, _MOST_SEGMENTS, _MOST_SEGMENTS, pages))
        return segments.highest
    if command == _SHM_INFO:
        pages = segments.pages
        space.write(buffer, _SHM_INFO_STRUCT.pack(len(segments), pages, pages, 0, 0, 0))
        return segments.highest
    if command not in {IPC_RMID, IPC_SET, IPC_STAT, _SHM_LOCK, _SHM_UNLOCK, _SHM_STAT, _SHM_STAT_ANY}:
        raise KernelError(EINVAL, f"shmctl {command}")
    segment = segments.find(number)
    if command in {IPC_STAT, _SHM_STAT, _SHM_STAT_ANY}:
        if command != _SHM_STAT_ANY:
            segment.check(user, MAY_READ)
        space.write(buffer, pack_permission(segment, SHM_DEST if segment.doomed else 0) + _packed(segment))
        return 0 if command == IPC_STAT else number
    if command in {_SHM_LOCK, _SHM_UNLOCK}:
        return 0  # nothing is ever paged out
    segment.check_owner(user)
    if command == IPC_RMID:
        segments.remove(segment)
    else:
        segment.give(*read_permission(space, buffer))
    return 0


def _packed(segment: SharedSegment) -> bytes:
    times = segment.attached, segment.detached, segment.changed
    return _SHMID_DS.pack(segment.size_bytes, *times, segment.creator_pid, segment.last_pid, segment.mappings)

"""What the accounts and the proof are given: process ids, addresses and shared memory objects; nothing guests said."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dcss.account.targets import AddressRange, GuestTarget, SegmentTarget, SystemTarget
from dcss.cp.segments.segment import FileClass, Segment
from dcss.cp.segments.shm import SharedObject
from dcss.image.files import image_files
from dcss.system.instance import Guest

if TYPE_CHECKING:
    from dcss.system.system import System


def target_of(system: "System") -> SystemTarget:
    """Describe a running system by what its CP knows of it; guests that ended are left out."""
    reservation = system.fork_server.reservation
    window = AddressRange(reservation.window, reservation.window + reservation.window_bytes)
    user_area = AddressRange(reservation.user_area, reservation.user_area + reservation.user_area_bytes)
    return SystemTarget(
        name=system.plan.name,
        cp_pid=os.getpid(),
        other_pids=(system.fork_server.pid,),
        guests=tuple(
            _guest(system, guest, guest.pid, window, user_area)
            for guest in system.guests.values()
            if guest.pid is not None and guest.exit_status is None
        ),
        segments=tuple(
            SegmentTarget(
                name=name,
                type=segment.definition.ranges[0].type,
                shm_name=stored.name,
                descriptor=stored.reader_fd,
                address=stored.address,
                size_bytes=stored.size_bytes,
                digest=segment.digest,
                files=tuple(image_files(stored.buffer)),
            )
            for segment in system.cp.files.values()
            for name, stored in _objects(segment)
        ),
    )


def version_name(segment: Segment) -> str:
    """Return what reports call a version: the segment's name; with its file number where it was replaced or purged."""
    if segment.file_class is FileClass.PENDING_PURGE:
        return f"{segment.name}.{segment.spid:04d}"
    return segment.name


def segment_users(system: "System") -> dict[str, int]:
    """Return how many guests have each version in storage loaded, by the name that `target_of` gives it."""
    descriptors = Counter(load.descriptor for guest in system.cp.guests.values() for load in guest.loads.values())
    return {
        name: descriptors[stored.reader_fd] + descriptors[stored.write_fd]
        for segment in system.cp.files.values()
        for name, stored in _objects(segment)
    }


def _objects(segment: Segment) -> Iterator[tuple[str, SharedObject]]:
    """Yield what a version has in storage: its object and, of one that guests may change, the saved content."""
    name = version_name(segment)
    if segment.stored is not None:
        yield name, segment.stored
    if segment.pristine is not None:
        yield f"{name}.saved", segment.pristine


def guest_counters(system: "System") -> dict[str, tuple[int, int, int]]:
    """Return each guest's own account, the latest that it sent: page cache, buffer and anonymous bytes."""
    return {guest.name: guest.counters for guest in system.guests.values() if guest.counters is not None}


def _guest(system: "System", guest: Guest, pid: int, window: AddressRange, user_area: AddressRange) -> GuestTarget:
    loads = system.cp.loaded(guest.name)
    return GuestTarget(
        name=guest.name,
        engine=guest.plan.engine,
        pids=(pid,),
        expect=guest.plan.expect,
        storage_bytes=guest.plan.storage_bytes,
        window=window,
        user_area=user_area,
        non_shared=frozenset(
            stored.name for load in loads.values() if not load.shared for _, stored in _objects(load.segment)
        ),
    )

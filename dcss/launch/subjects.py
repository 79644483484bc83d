"""What the accounts and the proof are given: process ids, addresses and shared memory objects; nothing guests said."""

import os
from typing import TYPE_CHECKING

from dcss.account.subjects import AddressRange, GuestSubject, SegmentSubject, SystemSubject
from dcss.image.files import image_files
from dcss.launch.guest import Guest

if TYPE_CHECKING:
    from dcss.launch.system import System


def subject_of(system: "System") -> SystemSubject:
    """Describe a running system by what its CP knows of it; guests that ended are left out."""
    reservation = system.fork_server.reservation
    window = AddressRange(reservation.window, reservation.window + reservation.window_bytes)
    user_area = AddressRange(reservation.user_area, reservation.user_area + reservation.user_area_bytes)
    return SystemSubject(
        name=system.plan.name,
        cp_pid=os.getpid(),
        other_pids=(system.fork_server.pid,),
        guests=tuple(
            _guest(guest, guest.pid, window, user_area)
            for guest in system.guests.values()
            if guest.pid is not None and guest.exit_status is None
        ),
        segments=tuple(
            SegmentSubject(
                name=segment.name,
                type=segment.definition.ranges[0].type,
                shm_name=segment.object.name,
                descriptor=segment.object.reader_fd,
                address=segment.object.address,
                size_bytes=segment.object.size_bytes,
                digest=segment.digest,
                files=tuple(image_files(segment.object.buffer)),
            )
            for segment in system.cp.segments.values()
        ),
    )


def guest_books(system: "System") -> dict[str, tuple[int, int, int]]:
    """Return each guest's own account, the latest that it sent: page cache, buffer and anonymous bytes."""
    return {guest.name: guest.books for guest in system.guests.values() if guest.books is not None}


def _guest(guest: Guest, pid: int, window: AddressRange, user_area: AddressRange) -> GuestSubject:
    return GuestSubject(
        name=guest.name,
        engine=guest.plan.engine,
        pids=(pid,),
        expect=guest.plan.expect,
        storage_bytes=guest.plan.storage_bytes,
        window=window,
        user_area=user_area,
    )

"""What happened between two looks at a running system: growth, hypercalls and CP's time by the second."""

import time

from dcss.abi import statistics as abi
from dcss.host.text import iso_utc
from dcss.results import CpActivity, GuestActivity, SegmentActivity, SystemActivity
from dcss.rpc.look import SystemLook
from dcss.rpc.statistics import GuestStatistics


def activity(before: SystemLook | None, look: SystemLook) -> SystemActivity:
    """Return a look with what has changed since the one before."""
    seconds = 0.0 if before is None else look.taken_at - before.taken_at
    guests_before = {} if before is None else {guest.name: guest for guest in before.statistics.guests}
    cpu_percent = None
    if before is not None and seconds > 0 and None not in {before.cpu_seconds, look.cpu_seconds}:
        cpu_percent = round(100 * ((look.cpu_seconds or 0) - (before.cpu_seconds or 0)) / seconds, 1)
    system = look.statistics.system
    return SystemActivity(
        system=look.system,
        time=iso_utc(int(time.time())),
        state=abi.text_of(system.state),
        cp=CpActivity(look.statistics.pid, cpu_percent, look.cp_private_bytes, system.requests),
        guests=tuple(
            _guest(guest, guests_before.get(guest.name), before, look, seconds) for guest in look.statistics.guests
        ),
        segments=tuple(
            SegmentActivity(
                abi.text_of(segment.name),
                segment.size_bytes,
                look.resident_bytes.get(abi.text_of(segment.shm)),
                segment.users,
            )
            for segment in look.statistics.segments
        ),
    )


def _guest(
    guest: GuestStatistics, earlier: GuestStatistics | None, before: SystemLook | None, look: SystemLook, seconds: float
) -> GuestActivity:
    private_bytes = look.private_bytes.get(guest.name)
    hypercalls = sum(guest.hypercalls)
    growth = rate = None
    if before is not None and earlier is not None and seconds > 0:
        rate = round((hypercalls - sum(earlier.hypercalls)) / seconds, 1)
        private_before = before.private_bytes.get(guest.name)
        if earlier.pid == guest.pid and private_bytes is not None and private_before is not None:
            growth = round((private_bytes - private_before) / seconds, 1)
    return GuestActivity(
        guest.name,
        guest.engine,
        guest.state,
        guest.pid,
        private_bytes,
        growth,
        hypercalls,
        rate,
        guest.slot.restarts,
        guest.segments,
    )

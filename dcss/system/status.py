"""The status of a running system, which `dcss ps` shows."""

import os

from dcss.host.text import iso_utc
from dcss.results import GuestStatus, SegmentStatus, SystemStatus
from dcss.system.guest import FAILED_STATES, Guest
from dcss.system.state import SystemState


def system_status(system: SystemState) -> SystemStatus:
    """Return the status of a system: its CP, its guests and its segments."""
    return SystemStatus(
        system=system.plan.name,
        state=system.phase,
        pid=os.getpid(),
        since=system.started_at,
        config=str(system.plan.path),
        log=str(system.log.path),
        guests=tuple(guest_status(system, guest) for guest in system.supervisor.guests.values()),
        segments=tuple(
            SegmentStatus(
                name=segment.version_name,
                file=segment.spid,
                file_class=segment.file_class.value,
                shm=segment.stored.name,
                bytes=segment.stored.size_bytes,
                guests=len(segment.users),
            )
            for segment in system.cp.files.values()
            if segment.stored is not None
        ),
    )


def guest_status(system: SystemState, guest: Guest) -> GuestStatus:
    """Return the status of one guest; `exit_status` and `reason` are None unless it failed."""
    pids = guest.instance.pids if guest.instance is not None else ()
    failed = guest.state in FAILED_STATES
    outcome = guest.outcome() if failed else None
    return GuestStatus(
        name=guest.name,
        engine=guest.plan.engine,
        state=guest.state.value,
        since=iso_utc(int(guest.since_seconds)),
        pid=pids[0] if pids else None,
        segments=_loaded(system, guest.name),
        restarts=guest.restarts,
        exit_status=None if outcome is None else outcome.exit_status,
        reason=None if outcome is None else outcome.log,
        log=f"{system.cp.lock.directory}/{guest.name}.log",
    )


def _loaded(system: SystemState, guest: str) -> tuple[str, ...]:
    if guest not in system.cp.machines:
        return ()
    return tuple(load.segment.version_name for load in system.cp.loaded(guest).values())

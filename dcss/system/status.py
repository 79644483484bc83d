"""How a running system stands, as `dcss ps` shows it."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dcss.system.guest import Member, State
from dcss.system.targets import version_name

if TYPE_CHECKING:
    from dcss.system.system import System


def system_form(system: "System") -> dict[str, Any]:
    """Return the document of a system: its CP, its guests and its segments. docs/commands.md describes the fields."""
    return {
        "system": system.plan.name,
        "state": system.phase,
        "pid": os.getpid(),
        "since": system.started_at,
        "config": str(system.plan.path),
        "log": str(system.journal.path),
        "guests": [guest_form(system, member) for member in system.roster.members.values()],
        "segments": [
            {
                "name": version_name(segment),
                "file": segment.spid,
                "class": segment.file_class.value,
                "shm": segment.stored.name,
                "bytes": segment.stored.size_bytes,
                "guests": len(segment.users),
            }
            for segment in system.cp.files.values()
            if segment.stored is not None
        ],
    }


def guest_form(system: "System", member: Member) -> dict[str, Any]:
    """Return the document of one guest; `exit_status` and `reason` are null unless it failed."""
    guest = member.guest
    lives = member.lives
    failed = member.state in {State.FAILED, State.KILLED, State.RESTARTING}
    outcome = member.outcome() if failed else None
    return {
        "name": member.name,
        "engine": member.plan.engine,
        "state": member.state.value,
        "since": _iso(member.since_seconds),
        "pid": guest.pid if guest is not None and lives else None,
        "segments": _loaded(system, member.name),
        "restarts": member.restarts,
        "exit_status": None if outcome is None else outcome.exit_status,
        "reason": None if outcome is None else outcome.log,
        "log": str(system.cp.lock.directory / f"{member.name}.log"),
    }


def _loaded(system: "System", guest: str) -> list[str]:
    if guest not in system.cp.guests:
        return []
    return [version_name(load.segment) for load in system.cp.loaded(guest).values()]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

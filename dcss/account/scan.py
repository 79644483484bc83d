"""One pass over all processes of a system, for whoever wants to see them: page tables are read once and dropped."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

from dcss.account.hold import Hold
from dcss.account.proc import ProcessGoneError, family
from dcss.account.space import ProcessPages
from dcss.account.targets import GuestTarget, SystemTarget
from dcss.errors import LaunchError, MeasurementDeniedError


class GuestReading(NamedTuple):
    """The processes of one guest, and the address spaces of those that may be read; `denied` is why others may not."""

    guest: GuestTarget
    pids: tuple[int, ...]
    spaces: tuple[ProcessPages, ...]
    denied: str | None


class Observer(Protocol):
    """Takes what it needs of each process, while that stands still."""

    def add_other(self, space: ProcessPages) -> None:
        """Look at a process that is neither CP nor a guest; these come first."""

    def add_guest(self, reading: GuestReading) -> None:
        """Look at a guest."""


def scan(system: SystemTarget, observers: Sequence[Observer]) -> None:
    """Show every process of `system` but CP to `observers`; none of what is shown is kept here.

    Raises ProcessGoneError where one of the processes of `system` has ended.
    """
    for pid in system.other_pids:
        space = ProcessPages.read(pid)
        for observer in observers:
            observer.add_other(space)
    objects = frozenset(segment.object for segment in system.segments) if system.bystanders else frozenset()
    for pid in system.bystanders:
        with suppress(ProcessGoneError, MeasurementDeniedError):
            space = ProcessPages.read(pid, objects)
            for observer in observers:
                observer.add_other(space)
    for guest in system.guests:
        reading = read_guest(guest)
        for observer in observers:
            observer.add_guest(reading)


def read_guest(guest: GuestTarget) -> GuestReading:
    """Read the address spaces of a guest and of what it forked."""
    if not guest.pids:
        raise LaunchError(f"{guest.label}: found no process of it, wanted one that runs")
    pids = processes_of(guest)
    spaces: list[ProcessPages] = []
    denied: str | None = None
    for pid in pids:
        try:
            spaces.append(ProcessPages.read(pid))
        except MeasurementDeniedError as error:
            denied = str(error)
        except ProcessGoneError:
            if pid in guest.pids:
                raise
    return GuestReading(guest, pids, tuple(spaces), denied)


def processes_of(guest: GuestTarget) -> tuple[int, ...]:
    """Return the processes of a guest and what they forked; what stands alone has no children."""
    return guest.pids if guest.standalone else family(guest.pids)


def hold_system(system: SystemTarget) -> Hold:
    """Return what holds all guests of `system` still, and the processes from which guests are forked."""
    if not system.held:
        return Hold(())
    return Hold((pid for guest in system.guests for pid in guest.pids), alone=system.other_pids)


def not_held(system: SystemTarget, hold: Hold) -> list[str]:
    """Say which processes moved while they were looked at, and why."""
    owners = {pid: guest.label for guest in system.guests for pid in guest.pids}
    return [
        f"{owners.get(pid, f'system {system.name}')}: process {pid} was not held still: {reason}"
        for pid, reason in hold.failures.items()
    ]


@contextmanager
def ended_processes_named(system: SystemTarget) -> Iterator[None]:
    """Turn ProcessGoneError into a LaunchError that names the guest, or the system."""
    try:
        yield
    except ProcessGoneError as error:
        owners = [guest.label for guest in system.guests if error.pid in guest.pids]
        raise LaunchError(f"{owners[0] if owners else f'system {system.name}'}: {error}") from error

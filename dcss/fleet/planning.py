"""Plan a fleet: which host gets which guests, what each needs, and what is lacking; nothing is started."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dcss.config.fleet_plan import FleetPlan, GuestEntry, HostPlan
from dcss.config.plan import MAX_GUESTS
from dcss.errors import ConfigError
from dcss.fleet.costs import Costs, costs_of
from dcss.fleet.placement import Host, Placer
from dcss.fleet.results import FleetPlanResult, FleetSegment, GrowthStep, HostLoad, PlacedGuests, Shortage

_GROWTH_FROM: Final = 100  # guests; fewer do not show how it grows
_GROWTH_PARTS: Final = (100, 10, 1)


@dataclass(frozen=True, slots=True)
class HostGuests:
    """Guests of one entry on one host: the numbers of the first and the last."""

    entry: GuestEntry
    first: int
    last: int

    @property
    def guests(self) -> int:
        """How many they are."""
        return self.last - self.first + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return self.entry.names(self.first, self.last)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one host runs: its guests, and the names of their segments in the order of the file."""

    host: str
    guests: tuple[HostGuests, ...]
    segments: tuple[str, ...]


def known_hosts(plan: FleetPlan, workers: int | None, free_bytes: int) -> list[HostPlan]:
    """Return the hosts of the YAML, or so many stand-ins for all workers; each without `memory:` gets a part of what
    is free on this machine.

    Raises ConfigError where --workers differs from what the YAML names.
    """
    if plan.hosts is not None:
        if workers is not None and workers != len(plan.hosts):
            raise ConfigError(f"--workers: found {workers}, wanted {len(plan.hosts)}, as {plan.path} names hosts")
        hosts = list(plan.hosts)
    else:
        hosts = [HostPlan(f"local{number}", None, None) for number in range(1, (workers or 1) + 1)]
    return [
        replace(host, memory_bytes=free_bytes // len(hosts)) if host.memory_bytes is None else host for host in hosts
    ]


def place_fleet(plan: FleetPlan, hosts: Sequence[HostPlan], costs: Costs) -> Placer:
    """Place all guests that have room."""
    # A host's guests are one system.
    places = [Host(each.name, each.memory_bytes or 0, min(each.max_guests or MAX_GUESTS, MAX_GUESTS)) for each in hosts]
    placer = Placer(plan.entries, places, costs)
    placer.place(plan.placement, plan.bound)
    return placer


def plan_fleet(
    plan: FleetPlan, hosts: Sequence[HostPlan], measured: Path | None, notes: Sequence[str] = ()
) -> FleetPlanResult:
    """Return where the guests would run; `notes` are estimates of the caller's own. Raises ConfigError."""
    began = time.monotonic()
    costs = costs_of(plan, measured)
    placer = place_fleet(plan, hosts, costs)
    assigned = {each.host: each for each in assignments(plan, placer)}
    seconds = time.monotonic() - began
    return FleetPlanResult(
        system=plan.name,
        config=str(plan.path),
        placement=plan.placement,
        fits=not placer.unplaced,
        guests=plan.guests,
        hosts=tuple(_load(placer, host, assigned.get(host.name)) for host in placer.hosts),
        segments=tuple(
            FleetSegment(name, size_bytes, sum(name in host.segments for host in placer.hosts))
            for name, size_bytes in costs.segments.items()
        ),
        unplaced_guests=sum(placer.unplaced.values()),
        lacks=tuple(_shortages(plan, placer)),
        estimates=(*costs.estimates, *notes),
        growth=tuple(_growth(plan, hosts, costs)) if plan.guests >= _GROWTH_FROM else (),
        seconds=seconds,
    )


def assignments(plan: FleetPlan, placer: Placer) -> Iterator[Assignment]:
    """Yield what each host that gets guests runs; an entry's numbers go up from host to host."""
    following = dict.fromkeys(range(len(plan.entries)), 1)
    for host in placer.hosts:
        guests = []
        for number in sorted(host.placed):
            first = following[number]
            following[number] = first + host.placed[number]
            guests.append(HostGuests(plan.entries[number], first, following[number] - 1))
        if guests:
            segments = tuple(each.name for each in plan.segments if each.name in host.segments)
            yield Assignment(host.name, tuple(guests), segments)


def _load(placer: Placer, host: Host, assigned: Assignment | None) -> HostLoad:
    placed = () if assigned is None else assigned.guests
    return HostLoad(
        host=host.name,
        guests=host.guests,
        placed=tuple(_placed(each) for each in placed),
        segments=() if assigned is None else assigned.segments,
        private_bytes=host.private_bytes,
        segment_bytes=placer.segment_bytes(host),
        needed_bytes=placer.used_bytes(host),
        free_bytes=host.free_bytes,
    )


def _placed(guests: HostGuests) -> PlacedGuests:
    entry = guests.entry
    first, last = entry.names(guests.first, guests.first)[0], entry.names(guests.last, guests.last)[0]
    return PlacedGuests(entry.name, guests.guests, first, last)


def _shortages(plan: FleetPlan, placer: Placer) -> Iterator[Shortage]:
    whole = {number: numbers for numbers in plan.bound for number in numbers}
    for number, left in placer.unplaced.items():
        entry = plan.entries[number]
        guests = entry.guests if number in whole else 1
        for host in placer.hosts:
            need = placer.need(host, number, guests)
            free_bytes = placer.left_bytes(host)
            lacks_bytes: int | None = max(0, need.total_bytes - free_bytes)
            if host.guests + guests > host.max_guests:
                lacks_bytes, reason = lacks_bytes or None, f"may have {host.max_guests} guests and has {host.guests}"
            elif not lacks_bytes:
                reason = "has room for these alone, and not for the entries that must run on the same host"
            else:
                reason = "has too little memory"
            yield Shortage(host.name, entry.name, left, need.total_bytes, free_bytes, lacks_bytes, reason)


def _growth(plan: FleetPlan, hosts: Sequence[HostPlan], costs: Costs) -> Iterator[GrowthStep]:
    for part in _GROWTH_PARTS:
        entries = tuple(
            entry if entry.count is None else replace(entry, count=max(1, entry.count // part))
            for entry in plan.entries
        )
        smaller = replace(plan, entries=entries)
        began = time.monotonic()
        placer = place_fleet(smaller, hosts, costs)
        seconds = time.monotonic() - began
        yield GrowthStep(
            guests=smaller.guests,
            hosts=sum(bool(host.placed) for host in placer.hosts),
            private_bytes=sum(host.private_bytes for host in placer.hosts),
            segment_bytes=sum(placer.segment_bytes(host) for host in placer.hosts),
            needed_bytes=sum(placer.used_bytes(host) for host in placer.hosts),
            fits=not placer.unplaced,
            seconds=seconds,
        )

"""Decide which host runs which guests, by memory: guests that share segments go together.

Entries are placed, not guests one by one, so that a million guests take no longer than a thousand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dcss.config.fleet_plan import GuestEntry
from dcss.config.plan import PlacementRule
from dcss.fleet.costs import Costs


@dataclass(slots=True)
class Host:
    """A host while guests are placed: `placed` has how many of each entry, by its number."""

    name: str
    free_bytes: int
    max_guests: int
    guests: int = 0
    private_bytes: int = 0
    placed: dict[int, int] = field(default_factory=dict)
    segments: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Need:
    """What so many guests more of an entry would take on a host."""

    private_bytes: int
    segment_bytes: int
    host_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.private_bytes + self.segment_bytes + self.host_bytes


class Placer:
    """Places the entries of a fleet on hosts, and keeps account of what each host has."""

    def __init__(self, entries: Sequence[GuestEntry], hosts: Sequence[Host], costs: Costs) -> None:
        self._entries = entries
        self._costs = costs
        self.hosts = list(hosts)
        self.unplaced: dict[int, int] = {}

    def place(self, rule: PlacementRule, bound: Sequence[frozenset[int]]) -> None:
        """Place all entries; those of one set of `bound` go to one host. `unplaced` has what finds no room."""
        together = {number for numbers in bound for number in numbers}
        for numbers in sorted(bound, key=self._weight_bytes, reverse=True):
            self._place_whole(sorted(numbers), rule)
        groups = self._groups([number for number in range(len(self._entries)) if number not in together])
        groups.sort(key=self._weight_bytes, reverse=True)
        if rule == "pack":
            for group in groups:
                for number in group:
                    self._note(number, self._fill(number, self._entries[number].guests))
            return
        for group, hosts in zip(groups, self._shares(groups), strict=True):
            for number in group:
                left = self._spread(number, self._entries[number].guests, hosts)
                self._note(number, self._spread(number, left, self.hosts) if left else 0)

    def need(self, host: Host, number: int, guests: int) -> Need:
        """Return what a host would need for so many more guests of an entry."""
        entry, cost = self._entries[number], self._costs.entries[number]
        first = guests > 0 and not host.placed.get(number)
        private_bytes = guests * cost.next_bytes + (cost.first_bytes - cost.next_bytes if first else 0)
        added = sum(self._costs.segments[name] for name in entry.segments if name not in host.segments)
        return Need(private_bytes, added, 0 if host.placed else self._costs.host_bytes)

    def left_bytes(self, host: Host) -> int:
        """Return what is left of a host's free memory."""
        return host.free_bytes - self.used_bytes(host)

    def used_bytes(self, host: Host) -> int:
        """Return what a host needs for what it has been given."""
        if not host.placed:
            return 0
        return host.private_bytes + self.segment_bytes(host) + self._costs.host_bytes

    def segment_bytes(self, host: Host) -> int:
        """Return what the segments of a host take, each of them once."""
        return sum(self._costs.segments[name] for name in host.segments)

    def _weight_bytes(self, numbers: Sequence[int] | frozenset[int]) -> int:
        return sum(self._entries[number].guests * self._costs.entries[number].next_bytes for number in numbers)

    def _groups(self, numbers: Sequence[int]) -> list[list[int]]:
        """Return the entries in groups that have no segment in common."""
        groups: list[tuple[set[str], list[int]]] = []
        for number in numbers:
            names = set(self._entries[number].segments)
            touching = [group for group in groups if group[0] & names]
            groups = [group for group in groups if not group[0] & names]
            members = [each for group in touching for each in group[1]] + [number]
            groups.append((names.union(*(group[0] for group in touching)), members))
        return [sorted(members, key=lambda number: self._weight_bytes([number]), reverse=True) for _, members in groups]

    def _room(self, host: Host, number: int, wanted: int) -> int:
        """Return how many guests of an entry a host can take, at most those that are wanted."""
        wanted = min(wanted, host.max_guests - host.guests)
        one_bytes = self.need(host, number, 1).total_bytes
        left_bytes = self.left_bytes(host)
        if wanted <= 0 or one_bytes > left_bytes:
            return 0
        next_bytes = self._costs.entries[number].next_bytes
        return min(wanted, 1 + (left_bytes - one_bytes) // next_bytes) if next_bytes else wanted

    def _take(self, host: Host, number: int, guests: int) -> None:
        if not guests:
            return
        host.private_bytes += self.need(host, number, guests).private_bytes
        host.guests += guests
        host.placed[number] = host.placed.get(number, 0) + guests
        host.segments.update(self._entries[number].segments)

    def _note(self, number: int, left: int) -> None:
        if left:
            self.unplaced[number] = self.unplaced.get(number, 0) + left

    def _fill(self, number: int, wanted: int) -> int:
        """Fill one host after the other; return how many guests are left. Those that have the segments come first."""
        names = set(self._entries[number].segments)
        order = sorted(self.hosts, key=lambda host: (-len(names & host.segments), not host.placed))
        for host in order:
            guests = self._room(host, number, wanted)
            self._take(host, number, guests)
            wanted -= guests
            if not wanted:
                break
        return wanted

    def _spread(self, number: int, wanted: int, hosts: Sequence[Host]) -> int:
        """Level the hosts' numbers of guests; return how many guests are left."""
        open_hosts = list(hosts)
        while wanted and open_hosts:
            level = _level([host.guests for host in open_hosts], wanted)
            placed = 0
            for host in sorted(open_hosts, key=lambda host: host.guests):
                guests = self._room(host, number, min(level - host.guests, wanted - placed))
                self._take(host, number, max(0, guests))
                placed += max(0, guests)
            wanted -= placed
            open_hosts = [host for host in open_hosts if self._room(host, number, 1)]
        return wanted

    def _shares(self, groups: Sequence[Sequence[int]]) -> Iterator[list[Host]]:
        """Yield for each group the hosts that it is spread over first: few hosts get segments of two groups."""
        hosts = self.hosts
        if len(groups) >= len(hosts):
            for number in range(len(groups)):  # the largest group first, each to the host whose turn it is
                yield [hosts[number % len(hosts)]] if hosts else []
            return
        weights = [self._weight_bytes(group) for group in groups]
        spare, total = len(hosts) - len(groups), sum(weights) or 1
        counts = [1 + spare * weight // total for weight in weights]
        for number in range(len(hosts) - sum(counts)):
            counts[number % len(counts)] += 1
        start = 0
        for count in counts:
            yield hosts[start : start + count]
            start += count

    def _place_whole(self, numbers: Sequence[int], rule: PlacementRule) -> None:
        """Place entries that only one host can run together, or none of their guests."""
        order = sorted(self.hosts, key=lambda host: host.guests) if rule == "spread" else self.hosts
        for host in order:
            if self._fits_whole(host, numbers):
                for number in numbers:
                    self._take(host, number, self._entries[number].guests)
                return
        for number in numbers:
            self._note(number, self._entries[number].guests)

    def _fits_whole(self, host: Host, numbers: Sequence[int]) -> bool:
        needs = [self.need(host, number, self._entries[number].guests) for number in numbers]
        names = {name for number in numbers for name in self._entries[number].segments} - host.segments
        needed_bytes = sum(need.private_bytes for need in needs) + needs[0].host_bytes
        needed_bytes += sum(self._costs.segments[name] for name in names)
        guests = host.guests + sum(self._entries[number].guests for number in numbers)
        return needed_bytes <= self.left_bytes(host) and guests <= host.max_guests


def _level(numbers: Sequence[int], added: int) -> int:
    """Return the least level at which filling up every number to it adds at least so much."""
    level, filled = 0, 0
    for index, number in enumerate(sorted(numbers)):
        if filled + added <= number * index:
            break
        filled += number
        level = -(-(filled + added) // (index + 1))
    return level

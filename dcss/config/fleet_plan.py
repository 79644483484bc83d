"""What the YAML of a fleet asks for, once it has been checked."""

from dataclasses import dataclass
from pathlib import Path

from dcss.config.document import Document
from dcss.config.names import guest_name
from dcss.config.plan import EngineName, PlacementRule, SegmentPlan


@dataclass(frozen=True, slots=True)
class HostPlan:
    """A host and what the fleet may use of it; None is without a limit."""

    name: str
    memory_bytes: int | None
    max_guests: int | None


@dataclass(frozen=True, slots=True)
class GuestEntry:
    """One entry of `guests:`; `number` is its place in the file, `copied_segments` are those mounted through copies.

    `count` is None for one guest without a number.
    """

    number: int
    name: str
    count: int | None
    engine: EngineName
    storage_bytes: int
    segments: tuple[str, ...]
    copied_segments: tuple[str, ...]

    @property
    def guests(self) -> int:
        """How many guests it stands for."""
        return self.count or 1

    def names(self, first: int, last: int) -> tuple[str, ...]:
        """Return the names of the guests from one number to another; numbers begin with 1."""
        if self.count is None:
            return (self.name,)
        return tuple(guest_name(self.name, number, self.count) for number in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet; `hosts` is None for all workers. `bound` has sets of entries' numbers that only one host can run."""

    name: str
    path: Path
    segments: tuple[SegmentPlan, ...]
    entries: tuple[GuestEntry, ...]
    hosts: tuple[HostPlan, ...] | None
    placement: PlacementRule
    bound: tuple[frozenset[int], ...]
    document: Document

    @property
    def guests(self) -> int:
        """How many guests there are."""
        return sum(entry.guests for entry in self.entries)

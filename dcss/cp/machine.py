"""A virtual machine as CP knows it: its directory entry, and the segments that it has loaded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from dcss.abi.extmem import PageRange, SegmentName
from dcss.cp.segments.segment import Segment


class LoadedSegment(NamedTuple):
    """A loaded segment: which version, whether it was loaded shared, and the descriptor that the machine got.

    The descriptor is CP's own, read-only but for a shared load of SW or SN.
    """

    segment: Segment
    shared: bool
    descriptor: int


Dump = Callable[[int, int, int], object]  # dump(write_fd, address, size_bytes) writes its absolute storage


@dataclass(slots=True, eq=False)
class RegisteredMachine:
    """One virtual machine, from its registration to its release.

    `namesave` are the restricted segments that it may load, `privileges` the classes of its CP commands. `dump` reads
    its storage for SAVESEG, what it has loaded included; it is called in a thread.
    """

    name: str
    storage_bytes: int
    namesave: frozenset[str] = frozenset()
    privileges: frozenset[str] = frozenset("G")
    dump: Dump | None = None
    loads: dict[SegmentName, LoadedSegment] = field(default_factory=dict)
    released: bool = False

    def addresses(self, pages: PageRange) -> bool:
        """Return True if all of `pages` are its storage: within its own, or in segments that it has loaded."""
        definitions = [load.segment.definition for load in self.loads.values()]
        reached = 0
        for start, end in sorted([(0, self.storage_bytes), *((each.start, each.end + 1) for each in definitions)]):
            if start <= max(reached, pages.start) < end:
                reached = end
        return reached > pages.end

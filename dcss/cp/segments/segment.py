"""A system data file of CP: one version of a segment, who uses it, and a guest as CP knows it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dcss.abi.diag64 import ReturnCode
from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.cp.segments.content import Fill
from dcss.cp.segments.shm import SharedObject
from dcss.errors import DcssError

OPERATOR = "OPERATOR"  # who issues commands that no guest issues


class RefusalError(DcssError):
    """CP refuses what a guest asked for; DIAG X'64' answers condition code 2 with `return_code` in Ry."""

    def __init__(self, return_code: ReturnCode, message: str) -> None:
        super().__init__(return_code, message)
        self.return_code = return_code

    def __str__(self) -> str:
        return str(self.args[1])


class FileClass(StrEnum):
    """Class of a system data file (z/VM: "System Data File Classes")."""

    SKELETON = "S"
    AVAILABLE = "A"
    RESTRICTED = "R"
    PENDING_PURGE = "P"


@dataclass(slots=True, eq=False)
class Segment:
    """One version of a segment.

    `spid` is its file number, `owner` who defined a skeleton and who saved a segment, `created` when, in UTC as
    ISO 8601 writes it. `fill` writes its content, None for a skeleton; `saved_digest` is the content's SHA-256 in hex
    where the spool holds it. `users` are the names of the guests that have loaded it.
    """

    definition: SegmentDefinition
    spid: int
    file_class: FileClass
    owner: str
    created: str
    fill: Fill | None
    saved_digest: str | None = None
    digest: str | None = None  # of what is in storage, None where guests may change that (SW, SN)
    users: set[str] = field(default_factory=set)
    written: bool = False  # a guest was given a writable descriptor since the content was last written
    written_by_cp: bool = False  # what is in storage has been changed by STORE NSS
    stored: SharedObject | None = None
    pristine: SharedObject | None = None  # the saved content of a segment that guests may change, for non-shared loads

    @property
    def name(self) -> SegmentName:
        """The segment's name; a version pending purge and a skeleton share it with the available one."""
        return self.definition.name

    @property
    def object(self) -> SharedObject:
        """The segment in storage. Raises LookupError before it was brought in, which the first load does."""
        if self.stored is None:
            raise LookupError(f"segment {self.name}: not in storage, no guest has loaded it yet")
        return self.stored

    @property
    def shared_writable(self) -> bool:
        """All pages are SW or SN: what one guest stores in a shared load, all see.

        One descriptor covers all ranges, so a mix with other types keeps it read-only, and so do unlisted pages, which
        are read-only beside shared ranges.
        """
        return self.definition.contiguous and all(each.type.shared_writable for each in self.definition.ranges)


class Load(NamedTuple):
    """A segment in a guest: which version, whether it was loaded shared, and the descriptor that the guest got.

    The descriptor is CP's own, read-only but for a shared load of SW or SN.
    """

    segment: Segment
    shared: bool
    descriptor: int


Dump = Callable[[int, int, int], object]  # dump(write_fd, address, size_bytes) writes a guest's absolute storage


@dataclass(slots=True, eq=False)
class Guest:
    """A virtual machine as CP knows it; `namesave` are the restricted segments, `privileges` the classes of its
    directory entry.

    `dump` reads its storage for SAVESEG, what it has loaded included.
    """

    name: str
    storage_bytes: int
    namesave: frozenset[str] = frozenset()
    privileges: frozenset[str] = frozenset("G")
    dump: Dump | None = None
    loads: dict[SegmentName, Load] = field(default_factory=dict)

    def addresses(self, pages: PageRange) -> bool:
        """Tell whether all of `pages` are storage of the guest: within its own, or in segments that it has loaded."""
        definitions = [load.segment.definition for load in self.loads.values()]
        reached = 0
        for start, end in sorted([(0, self.storage_bytes), *((each.start, each.end + 1) for each in definitions)]):
            if start <= max(reached, pages.start) < end:
                reached = end
        return reached > pages.end

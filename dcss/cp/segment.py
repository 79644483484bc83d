"""A system data file of CP: one version of a segment, who uses it, and a guest as CP knows it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dcss.abi.diag64 import ReturnCode
from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.content import Fill
from dcss.cp.shm import SharedObject
from dcss.errors import DcssError


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
    """One version of a segment. `spid` is its file number; `digest` is the SHA-256 of its content in hex, None where
    guests may change the content (SW, SN). `users` are the names of the guests that have loaded it.
    """

    definition: SegmentDefinition
    spid: int
    file_class: FileClass
    object: SharedObject
    digest: str | None
    fill: Fill
    users: set[str] = field(default_factory=set)
    written: bool = False  # a guest was given a writable descriptor since the content was last written

    @property
    def name(self) -> SegmentName:
        """The segment's name; a version pending purge shares it with the available one."""
        return self.definition.name

    @property
    def shared_writable(self) -> bool:
        """All ranges are SW or SN: what one guest stores in a shared load, all see.

        A mix with other types keeps its descriptors read-only, since one descriptor covers all ranges.
        """
        return all(page_range.type.shared_writable for page_range in self.definition.ranges)


class Load(NamedTuple):
    """A segment in a guest: which version, and whether it was loaded shared."""

    segment: Segment
    shared: bool

    @property
    def descriptor(self) -> int:
        """What the guest gets: CP's own descriptor, read-only but for a shared load of SW or SN."""
        writable = self.shared and self.segment.shared_writable
        return self.segment.object.write_fd if writable else self.segment.object.reader_fd


@dataclass(slots=True, eq=False)
class Guest:
    """A virtual machine as CP knows it; `namesave` are the restricted segments that its directory entry names."""

    name: str
    storage_bytes: int
    namesave: frozenset[str] = frozenset()
    loads: dict[SegmentName, Load] = field(default_factory=dict)

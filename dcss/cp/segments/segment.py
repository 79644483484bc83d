"""A system data file of CP: one version of a segment, and who uses it."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from dcss.abi.diag64 import ReturnCode
from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.segments.content import Fill
from dcss.cp.segments.shm import SharedObject
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
    """One version of a segment.

    `spid` is its file number, `owner` who defined a skeleton and who saved a segment, `created` when, in UTC as
    ISO 8601 writes it. `fill` writes its content, None for a skeleton; `saved_digest` is the content's SHA-256 in hex
    where the spool holds it. With `huge` its objects get huge pages where the machine has them. `users` are the names
    of the virtual machines that have loaded it. Whoever makes or changes its objects holds `lock`.
    """

    definition: SegmentDefinition
    spid: int
    file_class: FileClass
    owner: str
    created: str
    fill: Fill | None
    saved_digest: str | None = None
    huge: bool = True
    digest: str | None = None  # of what is in storage, None where guests may change that (SW, SN)
    users: set[str] = field(default_factory=set)
    written: bool = False  # a guest was given a writable descriptor since the content was last written
    written_by_cp: bool = False  # what is in storage has been changed by STORE NSS
    stored: SharedObject | None = None
    pristine: SharedObject | None = None  # the saved content of a segment that guests may change, for non-shared loads
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> SegmentName:
        """The segment's name; a version pending purge and a skeleton share it with the available one."""
        return self.definition.name

    @property
    def version_name(self) -> str:
        """What reports call this version: the name; with its file number where it was replaced or purged."""
        if self.file_class is FileClass.PENDING_PURGE:
            return f"{self.name}.{self.spid:04d}"
        return self.name

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

"""What an account or a verdict is about: process ids, shared memory objects and address ranges, nothing a guest says.

Whoever started the processes builds these: CP knows the ranges from the fork server that it started.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE

Origin = Literal["kernel", "modules", "engine", "program", "process"]
Object = tuple[int, int]  # device and inode, as /proc/PID/maps has them
# Page cache, buffer, anonymous and module bytes, what only programs' page tables have, and how often its kernel failed,
# as a guest counts them; None: it cannot see what programs have.
StatedCounters = tuple[int, int, int, int, int | None, int]


class Terms(NamedTuple):
    """What reports call the processes that they are about, the memory that these share, and who maps all of it."""

    guest: str
    guests: str
    segment: str
    owner: str


GUESTS = Terms("guest", "guests", "segment", "CP")
PROCESSES = Terms("process", "processes", "object", "inspect")


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Host addresses from `start` up to, but without, `end`."""

    start: int
    end: int

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end

    def overlaps(self, start: int, end: int) -> bool:
        """Say whether any byte of `start` up to `end` lies inside."""
        return start < self.end and self.start < end


class FileRuns(Protocol):
    """One file of a segment's image; dcss.image.files.FileExtents is one."""

    @property
    def path(self) -> bytes:
        """Path in the image, as bytes."""
        ...

    @property
    def runs(self) -> Sequence[tuple[int, int, int]]:
        """(first page in the file, first page in the segment, pages); holes are left out."""
        ...

    @property
    def damage(self) -> str:
        """Why the runs are not all that the file has, if so."""
        ...


@dataclass(frozen=True, slots=True)
class SegmentTarget:
    """One published segment.

    `descriptor` is CP's own, `address` that of CP's own populated mapping of the whole object; `digest` is the
    SHA-256 (hex) of its content when it was published, None where the content may change. `start` is the absolute
    address of its first byte; `damage` says, one line each, which files of its image could not be read. Where one file
    system lies over several segments, `joined` has the `shm_name` of each, in the order of their addresses, and `files`
    the parts of files that lie in this one. `mapped_as` is the object as maps show it, where stat gives another one
    (overlay, btrfs). `resident_bytes` is what of it was in memory before anybody looked, where that is known already.
    `own_runs` are pages (first page, pages) that a file system in it keeps for itself, where its files are not known.
    """

    name: str
    type: SegmentType
    shm_name: str
    descriptor: int
    address: int
    size_bytes: int
    digest: str | None
    files: Sequence[FileRuns] = ()
    start: int = 0
    damage: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    mapped_as: Object | None = None
    resident_bytes: int | None = None
    own_runs: tuple[tuple[int, int], ...] = ()

    @property
    def pages(self) -> int:
        """Pages of the object; the last one may be cut short by its end."""
        return -(-self.size_bytes // PAGE_SIZE)

    @property
    def object(self) -> Object:
        """The object as mappings name it."""
        if self.mapped_as is not None:
            return self.mapped_as
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class GuestTarget:
    """One guest: its processes, what it should do with segments, and what its engine says of its addresses.

    `window` is its absolute address space, real storage at the bottom and segments above; `user_area` is where files
    are mapped at user level. `origins` says whose memory an address is, where it is not the guest kernel's.
    `non_shared` names the objects of segments that it loaded non-shared: what it writes there becomes its own. `disks`
    are files of this machine, by device and inode, that it was given as disks. With `in_place` its programs use files
    where segments lie in the window: a page that is present there is in use. What is `standalone` is one process of
    somebody else's, without its children: it may map what it likes, where it likes, and writes its private mappings.
    A kernel that is `buffering` has the blocks of a file system itself in buffers of its own.
    """

    name: str
    engine: str
    pids: tuple[int, ...]
    expect: Literal["shared", "copies", "nothing"]
    storage_bytes: int
    window: AddressRange
    user_area: AddressRange
    origins: tuple[tuple[AddressRange, Origin], ...] = ()
    non_shared: frozenset[str] = frozenset()
    disks: frozenset[tuple[int, int]] = frozenset()
    in_place: bool = False
    standalone: bool = False
    buffering: bool = False

    @property
    def label(self) -> str:
        """What reports call it."""
        return f"process {self.name} ({self.engine})" if self.standalone else f"guest {self.name}"

    def loads_privately(self, segment: SegmentTarget) -> bool:
        """Return True if what the guest writes to `segment` becomes its own, by the segment's type or the load."""
        return segment.type.exclusive or segment.shm_name in self.non_shared

    def origin_of(self, address: int) -> Origin:
        """Return whose memory `address` is."""
        for addresses, origin in self.origins:
            if address in addresses:
                return origin
        return self.own_origin

    @property
    def own_origin(self) -> Origin:
        """Whose memory all is that `origins` does not name."""
        return "process" if self.standalone else "kernel"


@dataclass(frozen=True, slots=True)
class SystemTarget:
    """One running system; `other_pids` are processes of ours that are neither CP nor a guest: the fork server.

    `bystanders` are processes of nobody's here that map segments as well: their entries count, and they may end. Guests
    of a system that is not `held` run on while they are looked at.
    """

    name: str
    cp_pid: int
    other_pids: tuple[int, ...]
    guests: tuple[GuestTarget, ...]
    segments: tuple[SegmentTarget, ...]
    bystanders: tuple[int, ...] = ()
    held: bool = True
    terms: Terms = GUESTS


class AccountQuestion(NamedTuple):
    """What accounts need beside a system.

    `guest_counters` has for each guest what its own kernel counts, or why it counts nothing; None where there is no
    such kernel. `segment_users` says how many guests have each segment loaded; `free_before_bytes` is the machine's
    free memory before the guests.
    """

    guest_counters: Mapping[str, StatedCounters | str | None]
    segment_users: Mapping[str, int]
    free_before_bytes: int | None = None

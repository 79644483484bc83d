"""What an account or a verdict is about: process ids, shared memory objects and address ranges, nothing a guest says.

Whoever started the processes builds these: CP knows the ranges from the fork server that it started.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from dcss.abi.extmem import SegmentType

Origin = Literal["kernel", "modules", "engine", "program"]
StatedCounters = tuple[int, int, int, int]  # page cache, buffer, anonymous and module bytes, as a guest counts them


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
    the parts of files that lie in this one.
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


@dataclass(frozen=True, slots=True)
class GuestTarget:
    """One guest: its processes, what it should do with segments, and what its engine says of its addresses.

    `window` is its absolute address space, real storage at the bottom and segments above; `user_area` is where files
    are mapped at user level. `origins` says whose memory an address is, where it is not the guest kernel's.
    `non_shared` names the objects of segments that it loaded non-shared: what it writes there becomes its own. `disks`
    are files of this machine, by device and inode, that it was given as disks. With `in_place` its programs use files
    where segments lie in the window: a page that is present there is in use.
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

    def loads_privately(self, segment: SegmentTarget) -> bool:
        """Return True if what the guest writes to `segment` becomes its own, by the segment's type or the load."""
        return segment.type.exclusive or segment.shm_name in self.non_shared

    def origin_of(self, address: int) -> Origin:
        """Return whose memory `address` is."""
        for addresses, origin in self.origins:
            if address in addresses:
                return origin
        return "kernel"


@dataclass(frozen=True, slots=True)
class SystemTarget:
    """One running system; `other_pids` are processes of ours that are neither CP nor a guest: the fork server."""

    name: str
    cp_pid: int
    other_pids: tuple[int, ...]
    guests: tuple[GuestTarget, ...]
    segments: tuple[SegmentTarget, ...]


class AccountQuestion(NamedTuple):
    """What accounts need beside a system.

    `guest_counters` has for each guest what its own kernel counts, or why it counts nothing; `segment_users` how many
    guests have each segment loaded; `free_before_bytes` is the machine's free memory before the guests.
    """

    guest_counters: Mapping[str, StatedCounters | str]
    segment_users: Mapping[str, int]
    free_before_bytes: int | None = None

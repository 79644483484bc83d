"""CP's directory of system data files: which segments exist, which guest has which loaded, what overlaps.

Rules from z/VM's CP Commands and Utilities Reference and VM/370's System Programmer's Guide, DIAGNOSE X'64'. A refusal
is a `RefusalError`, which the DIAG handler turns into condition and return code.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dcss.abi.diag64 import ReturnCode
from dcss.abi.extmem import SEGMENT_SIZE, SegmentName
from dcss.cp.segments.segment import FileClass, Guest, Load, RefusalError, Segment
from dcss.cp.segments.storage import DamagedError, Storage
from dcss.errors import SpoolError

MAX_SPID = 9999  # file numbers have four digits


class Directory:
    """All system data files of one CP: by file number (`files`), by name those that can be loaded (`available`), and by
    name those that are defined and not saved (`skeletons`). `damaged(segment, reason)` is called with a segment that
    turned out not to be what was saved, after it was taken away from new loads. `tell` gets what keeps a guest from a
    load that it may have. `changes` counts loads, unloads, files taken away and writes of CP.
    """

    def __init__(self, storage: Storage, damaged: Callable[[Segment, str], None]) -> None:
        self.files: dict[int, Segment] = {}
        self.available: dict[SegmentName, Segment] = {}
        self.skeletons: dict[SegmentName, Segment] = {}
        self.tell: Callable[[str], None] = lambda _: None
        self._told = ""
        self._storage = storage
        self._damaged = damaged
        self._last_spid = 0
        self.changes = 0
        self._pins = 0
        self._unpinned_drops: list[Segment] = []

    def next_spid(self) -> int:
        """Return a free file number: the one after the last given, beginning again after 9999."""
        for step in range(1, MAX_SPID + 1):
            spid = (self._last_spid + step - 1) % MAX_SPID + 1
            if spid not in self.files:
                self._last_spid = spid
                return spid
        raise SpoolError(f"no free file number: {MAX_SPID} system data files exist; purge some")

    def add(self, segment: Segment) -> Segment | None:
        """Enter a system data file of class S, A or R. It takes the place of the one of its name, which is returned.

        A skeleton that was saved keeps its file number, and is a skeleton no more.
        """
        skeleton = self.skeletons.get(segment.name)
        if skeleton is not None and skeleton.spid == segment.spid:
            del self.skeletons[segment.name]
        by_name = self.skeletons if segment.file_class is FileClass.SKELETON else self.available
        older = by_name.get(segment.name)
        self.files[segment.spid] = segment
        by_name[segment.name] = segment
        self._last_spid = max(self._last_spid, segment.spid)
        if older is not None:
            self._retire(older)
        return older

    def purge(self, segment: Segment) -> None:
        """Take a file away, skeletons included. One in use stays for its users, as class P (PURGE NSS)."""
        for by_name in (self.skeletons, self.available):
            if by_name.get(segment.name) is segment:
                del by_name[segment.name]
        self._retire(segment)

    def _retire(self, segment: Segment) -> None:
        self.changes += 1
        segment.file_class = FileClass.PENDING_PURGE
        if not segment.users:
            del self.files[segment.spid]
            if self._pins:
                self._unpinned_drops.append(segment)
            else:
                self._storage.drop(segment)

    @contextmanager
    def pinned_versions(self) -> Iterator[None]:
        """Keep in storage, until the block ends, what is purged or replaced meanwhile. Blocks may overlap."""
        self._pins += 1
        try:
            yield
        finally:
            self._pins -= 1
            if not self._pins:
                drops, self._unpinned_drops = self._unpinned_drops, []
                for segment in drops:
                    self._storage.drop(segment)

    def available_segment(self, name: SegmentName) -> Segment:
        """Return the version of `name` that a load gets. Raises RefusalError NOT_FOUND."""
        segment = self.available.get(name)
        if segment is None:
            raise RefusalError(ReturnCode.NOT_FOUND, f"segment {name}: does not exist, or is not saved")
        return segment

    def find(self, guest: Guest, name: SegmentName) -> tuple[Segment, bool]:
        """Return what `name` means to `guest`, the version that it has loaded first, and whether it has."""
        load = guest.loads.get(name)
        if load is not None:
            return load.segment, True
        return self.available_segment(name), False

    def bring_in(self, segment: Segment) -> None:
        """Bring a segment into storage before its first load. Raises PublishError, DamagedError."""
        try:
            self._storage.bring_in(segment)
        except DamagedError as error:
            self.set_aside(segment, str(error))
            raise DamagedError(f"segment {segment.name}: {error}; it was set aside and is not served") from error

    def set_aside(self, segment: Segment, reason: str) -> None:
        """Take a segment away that turned out not to be what was saved; who has it loaded keeps what is in storage."""
        self.purge(segment)
        self._damaged(segment, reason)

    def write(self, segment: Segment, offset_bytes: int, data: bytes) -> None:
        """Write what CP writes, pages of type SC, for all to see. Raises PublishError, DamagedError."""
        self.bring_in(segment)
        self.changes += 1
        self._storage.write(segment, offset_bytes, data)

    def load(self, guest: Guest, name: SegmentName, *, shared: bool, overlay: bool) -> Load:
        """Load the available version of `name`. What it overlaps in the guest is purged first, itself included.

        Without `overlay` (LOADNOLY) an overlap with a loaded segment or with storage is refused instead; that this is
        what LOADNOLY means is unconfirmed. A load that is refused changes nothing.
        """
        segment = self.available_segment(name)
        if segment.file_class is FileClass.RESTRICTED and name not in guest.namesave:
            raise RefusalError(
                ReturnCode.NOT_AUTHORIZED, f"guest {guest.name} loads {name}: restricted, and not in its namesave"
            )
        overlapped = [loaded for loaded, load in guest.loads.items() if loaded == name or _overlap(load, segment)]
        if not overlay and (overlapped or segment.definition.start < guest.storage_bytes):
            raise RefusalError(
                ReturnCode.OVERLAPS, f"guest {guest.name} loads {name}: overlaps {overlapped or 'storage'}"
            )
        self.bring_in(segment)
        if not segment.users - {guest.name}:
            self._storage.renew(segment)
        load = Load(segment, shared, self._storage.descriptor(segment, shared=shared))
        for loaded in overlapped:
            self.unload(guest, loaded)
        self.changes += 1
        segment.users.add(guest.name)
        guest.loads[name] = load
        return load

    def tell_failure(self, guest: Guest, error: Exception) -> None:
        """Say why a guest's load failed; said once where it asks again and again."""
        text = f"guest {guest.name}: {error}"
        if text != self._told:
            self._told = text
            self.tell(text)

    def unload(self, guest: Guest, name: SegmentName) -> None:
        """Drop the guest's load of `name`; the last user of a segment pending purge takes the segment along."""
        self.changes += 1
        segment = guest.loads.pop(name).segment
        segment.users.discard(guest.name)
        if segment.file_class is FileClass.PENDING_PURGE:
            self._retire(segment)


def _overlap(load: Load, segment: Segment) -> bool:
    # In whole megabytes: DEFSEG gives a segment all pages of a megabyte that it touches.
    loaded, wanted = load.segment.definition, segment.definition
    return (
        loaded.start // SEGMENT_SIZE <= wanted.end // SEGMENT_SIZE
        and wanted.start // SEGMENT_SIZE <= loaded.end // SEGMENT_SIZE
    )

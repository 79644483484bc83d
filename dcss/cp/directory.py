"""CP's directory of system data files: which segments exist, which guest has which loaded, what overlaps.

Rules from z/VM's CP Commands and Utilities Reference and VM/370's System Programmer's Guide, DIAGNOSE X'64'. A refusal
is a `RefusalError`, which the DIAG handler turns into condition and return code.
"""

from dcss.abi.diag64 import ReturnCode
from dcss.abi.extmem import SEGMENT_SIZE, SegmentName
from dcss.cp.content import rewrite_content
from dcss.cp.segment import FileClass, Guest, Load, RefusalError, Segment
from dcss.errors import DcssError

MAX_SPID = 9999  # file numbers have four digits


class Directory:
    """All system data files of one CP, by file number (`files`), and by name those that can be loaded (`available`)."""

    def __init__(self) -> None:
        self.files: dict[int, Segment] = {}
        self.available: dict[SegmentName, Segment] = {}
        self._last_spid = 0

    def next_spid(self) -> int:
        """Return a free file number: the one after the last given, beginning again after 9999."""
        for step in range(1, MAX_SPID + 1):
            spid = (self._last_spid + step - 1) % MAX_SPID + 1
            if spid not in self.files:
                self._last_spid = spid
                return spid
        raise DcssError(f"no free file number: {MAX_SPID} system data files exist; purge some")

    def add(self, segment: Segment) -> None:
        """Make `segment` the one that new loads of its name get; an older one is purged."""
        older = self.available.get(segment.name)
        self.files[segment.spid] = segment
        self.available[segment.name] = segment
        if older is not None:
            self._purge(older)

    def purge(self, segment: Segment) -> None:
        """Take `segment` away from new loads. It stays, as class P, while guests use it (PURGE NSS)."""
        if self.available.get(segment.name) is segment:
            del self.available[segment.name]
        self._purge(segment)

    def _purge(self, segment: Segment) -> None:
        segment.file_class = FileClass.PENDING_PURGE
        if not segment.users:
            del self.files[segment.spid]
            segment.object.close()

    def find(self, guest: Guest, name: SegmentName) -> tuple[Segment, bool]:
        """Return what `name` means to `guest`, the version that it has loaded first, and whether it has."""
        load = guest.loads.get(name)
        if load is not None:
            return load.segment, True
        return self.available_segment(name), False

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
        self._renew(segment, guest)
        for loaded in overlapped:
            if loaded != name or guest.loads[loaded].segment is not segment:
                self.unload(guest, loaded)
        segment.users.add(guest.name)
        guest.loads[name] = load = Load(segment, shared)
        segment.written |= shared and segment.shared_writable
        return load

    def unload(self, guest: Guest, name: SegmentName) -> None:
        """Drop the guest's load of `name`; the last user of a segment pending purge takes the segment along."""
        segment = guest.loads.pop(name).segment
        segment.users.discard(guest.name)
        if segment.file_class is FileClass.PENDING_PURGE:
            self._purge(segment)

    def available_segment(self, name: SegmentName) -> Segment:
        """Return the version of `name` that a load gets. Raises RefusalError NOT_FOUND."""
        segment = self.available.get(name)
        if segment is None:
            raise RefusalError(ReturnCode.NOT_FOUND, f"segment {name}: does not exist, or is not saved")
        return segment

    def _renew(self, segment: Segment, guest: Guest) -> None:
        """Before a first user comes, write the saved content again where former users could change it."""
        if segment.written and not segment.users - {guest.name}:
            rewrite_content(segment.definition, segment.fill, segment.object.write_fd)
            segment.written = False


def _overlap(load: Load, segment: Segment) -> bool:
    # In whole megabytes: DEFSEG gives a segment all pages of a megabyte that it touches.
    loaded, wanted = load.segment.definition, segment.definition
    return (
        loaded.start // SEGMENT_SIZE <= wanted.end // SEGMENT_SIZE
        and wanted.start // SEGMENT_SIZE <= loaded.end // SEGMENT_SIZE
    )

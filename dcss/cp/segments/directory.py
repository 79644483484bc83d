"""CP's directory of system data files: which segments exist, which guest has which loaded, what overlaps.

Rules from z/VM's CP Commands and Utilities Reference and VM/370's System Programmer's Guide, DIAGNOSE X'64'. A refusal
is a `RefusalError`, which the DIAG handler turns into condition and return code.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from dcss.abi.diag64 import ReturnCode
from dcss.abi.extmem import SEGMENT_SIZE, SegmentDefinition, SegmentName
from dcss.cp.machine import LoadedSegment, RegisteredMachine
from dcss.cp.segments.objects import DamagedError, SegmentObjects
from dcss.cp.segments.segment import FileClass, RefusalError, Segment
from dcss.errors import DcssError, SpoolError

MAX_SPID = 9999  # file numbers have four digits


def _nobody_looks(segment: Segment, machine: RegisteredMachine | None) -> None:
    """Stand for `on_changed` until someone looks."""


class SegmentDirectory:
    """All system data files of one CP: by file number (`files`), by name those that can be loaded (`available`), and by
    name those that are defined and not saved (`skeletons`).

    `changes` counts loads, unloads, files taken away and writes of CP. `on_damaged(segment, reason)` is awaited with a
    segment that turned out not to be what was saved; it purges it. `files_settled()` returns when the files on disk are
    those that the directory has. `on_changed` is called with a segment that came, went, was brought into storage,
    loaded or unloaded, and with the machine that did that, None where it was none.
    """

    on_damaged: Callable[[Segment, str], Awaitable[None]]  # set by whoever keeps the segments on disk
    files_settled: Callable[[], Awaitable[None]]  # as above
    on_changed: Callable[[Segment, RegisteredMachine | None], None] = staticmethod(_nobody_looks)

    def __init__(self, objects: SegmentObjects) -> None:
        self.files: dict[int, Segment] = {}
        self.available: dict[SegmentName, Segment] = {}
        self.skeletons: dict[SegmentName, Segment] = {}
        self._objects = objects
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
        self.on_changed(segment, None)
        return older

    def purge(self, segment: Segment) -> None:
        """Take a file away, skeletons included. One in use stays for its users, as class P (PURGE NSS)."""
        if self.files.get(segment.spid) is not segment:
            return
        for by_name in (self.skeletons, self.available):
            if by_name.get(segment.name) is segment:
                del by_name[segment.name]
        self._retire(segment)

    def _retire(self, segment: Segment) -> None:
        self.changes += 1
        segment.file_class = FileClass.PENDING_PURGE
        if segment.users:
            self.on_changed(segment, None)
            return
        del self.files[segment.spid]
        self.on_changed(segment, None)
        if self._pins:
            self._unpinned_drops.append(segment)
        else:
            self._objects.drop(segment)

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
                    self._objects.drop(segment)

    @asynccontextmanager
    async def exclusive(self, segment: Segment) -> AsyncIterator[None]:
        """Keep a segment in storage, and let nobody else make or change its objects, until the block ends."""
        with self.pinned_versions():
            async with segment.lock:
                yield

    def available_segment(self, name: SegmentName) -> Segment:
        """Return the version of `name` that a load gets. Raises RefusalError NOT_FOUND."""
        segment = self.available.get(name)
        if segment is None:
            raise RefusalError(ReturnCode.NOT_FOUND, f"segment {name}: does not exist, or is not saved")
        return segment

    def find(self, machine: RegisteredMachine, name: SegmentName) -> tuple[Segment, bool]:
        """Return what `name` means to `machine`, the version that it has loaded first, and whether it has."""
        load = machine.loads.get(name)
        if load is not None:
            return load.segment, True
        return self.available_segment(name), False

    async def bring_in(self, name: SegmentName) -> Segment:
        """Bring the available version of `name` into storage before its first load, and return it.

        Raises KeyError if there is none, PublishError, DamagedError.
        """
        while True:
            segment = self.available[name]
            async with self.exclusive(segment):
                if await self._prepared(segment, partial(self._objects.bring_in, segment)):
                    self.on_changed(segment, None)
                    return segment

    async def set_aside(self, segment: Segment, reason: str) -> None:
        """Take a segment away that turned out not to be what was saved; who has it loaded keeps what is in storage."""
        await self.on_damaged(segment, reason)

    async def write(self, segment: Segment, offset_bytes: int, data: bytes) -> None:
        """Write what CP writes, pages of type SC, for all to see. Raises PublishError, DamagedError.

        Nothing happens if the segment is purged meanwhile.
        """
        async with self.exclusive(segment):
            self.changes += 1
            await self._prepared(segment, partial(self._objects.write, segment, offset_bytes, data))

    async def load(
        self,
        machine: RegisteredMachine,
        name: SegmentName,
        *,
        shared: bool,
        overlay: bool,
        check: Callable[[SegmentDefinition], None] = lambda _: None,
    ) -> LoadedSegment:
        """Load the available version of `name`. What it overlaps in the machine is purged first, itself included.

        Without `overlay` (LOADNOLY) an overlap with a loaded segment or with storage is refused instead; that this is
        what LOADNOLY means is unconfirmed. `check` raises RefusalError for a definition that the machine cannot load. A
        load that is refused changes nothing. If the segment is purged while it is brought into storage, the load comes
        after the purge.
        """
        while True:
            segment = self.available_segment(name)
            check(segment.definition)
            self._check_load(machine, segment, overlay=overlay)
            async with self.exclusive(segment):
                prepare = partial(self._prepare_load, machine, segment, shared=shared)
                if await self._prepared(segment, prepare) and not machine.released:
                    return self._enter_load(machine, segment, shared=shared)
            if machine.released:
                raise RefusalError(ReturnCode.NOT_FOUND, f"guest {machine.name}: ended while it loaded {name}")

    def _check_load(self, machine: RegisteredMachine, segment: Segment, *, overlay: bool) -> None:
        name = segment.name
        if segment.file_class is FileClass.RESTRICTED and name not in machine.namesave:
            raise RefusalError(
                ReturnCode.NOT_AUTHORIZED, f"guest {machine.name} loads {name}: restricted, and not in its namesave"
            )
        overlapped = _overlapped(machine, segment)
        if not overlay and (overlapped or segment.definition.start < machine.storage_bytes):
            raise RefusalError(
                ReturnCode.OVERLAPS, f"guest {machine.name} loads {name}: overlaps {overlapped or 'storage'}"
            )

    async def _prepare_load(self, machine: RegisteredMachine, segment: Segment, *, shared: bool) -> None:
        await self._objects.bring_in_for_load(segment, shared=shared)
        if segment.users <= {machine.name}:
            await self._objects.renew(segment)
        self._objects.check_whole(segment, shared=shared)

    def _enter_load(self, machine: RegisteredMachine, segment: Segment, *, shared: bool) -> LoadedSegment:
        load = LoadedSegment(segment, shared, self._objects.descriptor(segment, shared=shared))
        for loaded in _overlapped(machine, segment):
            self.unload(machine, loaded)
        self.changes += 1
        segment.users.add(machine.name)
        machine.loads[segment.name] = load
        self.on_changed(segment, machine)
        return load

    async def _prepared(self, segment: Segment, prepare: Callable[[], Awaitable[object]]) -> bool:
        """Await `prepare` for an available segment; return False if the segment is purged or replaced meanwhile."""
        if self.available.get(segment.name) is not segment:
            return False
        try:
            await prepare()
        except (OSError, DcssError) as error:
            await self.files_settled()  # a purge removes the file before the segment
            if self.available.get(segment.name) is not segment:  # that is why: its file is gone
                return False
            if isinstance(error, DamagedError):
                await self.set_aside(segment, str(error))
                raise DamagedError(f"segment {segment.name}: {error}; it was set aside and is not served") from error
            raise
        return self.available.get(segment.name) is segment

    def unload(self, machine: RegisteredMachine, name: SegmentName) -> None:
        """Drop the machine's load of `name`; a segment pending purge goes with its last user."""
        self.changes += 1
        segment = machine.loads.pop(name).segment
        segment.users.discard(machine.name)
        if segment.file_class is FileClass.PENDING_PURGE:
            self._retire(segment)
        self.on_changed(segment, machine)


def _overlapped(machine: RegisteredMachine, segment: Segment) -> list[SegmentName]:
    return [name for name, load in machine.loads.items() if name == segment.name or _overlap(load, segment)]


def _overlap(load: LoadedSegment, segment: Segment) -> bool:
    # In whole megabytes: DEFSEG gives a segment all pages of a megabyte that it touches.
    loaded, wanted = load.segment.definition, segment.definition
    return (
        loaded.start // SEGMENT_SIZE <= wanted.end // SEGMENT_SIZE
        and wanted.start // SEGMENT_SIZE <= loaded.end // SEGMENT_SIZE
    )

"""The guest's use of segments, as arch/s390/mm/extmem.c has it: load, unload, access mode, save, type, messages.

Order of checks, errno and messages are those of Linux 3.13. Addresses in messages are as its %p prints them.
"""

import os
from dataclasses import dataclass, field
from errno import EAGAIN, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, ERANGE

from dcss.abi.diag64 import LINUX_RANGES, ReturnCode
from dcss.abi.extmem import MAX_DCSS_ADDR, SEGMENT_SIZE, PageRange, SegmentName, SegmentType
from dcss.abi.page import PAGE_SHIFT
from dcss.errors import HypercallError, KernelError
from vmguest.cpcmd import cpcmd
from vmguest.dcss_diag import NEW_SUBCODES, DcssDiag, SegmentExtent
from vmguest.machine import AttachedStorage, DiagnoseResult, VirtualMachine
from vmguest.printk import LogBuffer
from vmguest.resource import Resource, Resources

VMEM_MAX_PHYS = MAX_DCSS_ADDR
_NAME_LENGTH = 8

WARNINGS = {
    ENOENT: "DCSS {name} cannot be loaded or queried",
    ENOSYS: "DCSS {name} cannot be loaded or queried without z/VM",
    EIO: "Loading or querying DCSS {name} resulted in a hardware error",
    EOPNOTSUPP: "DCSS {name} has multiple page ranges and cannot be loaded or queried",
    ENOSPC: "DCSS {name} overlaps with used storage and cannot be loaded",
    EBUSY: "{name} needs used memory resources and cannot be loaded or queried",
    EPERM: "DCSS {name} is already loaded in a different access mode",
    ENOMEM: "There is not enough memory to load or query DCSS {name}",
    ERANGE: "DCSS {name} exceeds the kernel mapping range ({limit}) and cannot be loaded",
}


@dataclass(slots=True)
class DcssSegment:
    """One loaded segment (struct dcss_segment): addresses are absolute, `end` is the last byte."""

    name: SegmentName
    start: int
    end: int
    type: SegmentType
    do_nonshared: bool
    ranges: tuple[PageRange, ...]
    resource: Resource
    users: int = 1

    @property
    def writable(self) -> bool:
        """Whether storage takes stores: other than in these loads a store is a protection exception."""
        return self.do_nonshared or not self.type.read_only


@dataclass(slots=True)
class Extmem:
    """The list of loaded segments and the calls that change it; raises KernelError where the C code returns -errno.

    `iomem` holds the ranges of absolute storage that are in use: real storage and every loaded segment.
    """

    machine: VirtualMachine
    log: LogBuffer
    iomem: Resources = field(init=False, default_factory=Resources)
    _diag: DcssDiag = field(init=False)
    _segments: dict[bytes, DcssSegment] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.iomem.request(Resource("System RAM", 0, self.machine.storage.size_bytes - 1))
        self._diag = DcssDiag(self.machine)

    def segment_type(self, name: str) -> SegmentType:
        """Return the type of a segment, loaded or not."""
        _, kind = self._query_segment_type(name)
        return kind

    def segment_load(self, name: str, *, do_nonshared: bool) -> DcssSegment:
        """Load a segment and map it at its absolute address; a second load in the same mode adds a user."""
        loaded = self._segments.get(dcss_mkname(name))
        if loaded is None:
            return self._load(name, do_nonshared=do_nonshared)
        if loaded.do_nonshared != do_nonshared:
            raise KernelError(EPERM, f"DCSS {name} is loaded in the other access mode")
        loaded.users += 1
        return loaded

    def segment_unload(self, name: str) -> None:
        """Drop one user; the last one purges the segment."""
        segment = self._segments.get(dcss_mkname(name))
        if segment is None:
            self._log("err", f"Unloading unknown DCSS {name} failed")
            return
        segment.users -= 1
        if segment.users == 0:
            self.iomem.release(segment.resource)
            self._drop(segment)

    def segment_modify_shared(self, name: str, *, do_nonshared: bool) -> DcssSegment:
        """Reload a segment in the other access mode. A failed reload drops it altogether, as the C code does.

        What CP loads is the segment that now has the name; it keeps the type that the first load found.
        """
        segment = self._segments.get(dcss_mkname(name))
        if segment is None:
            raise KernelError(EINVAL, f"DCSS {name} is not loaded")
        if segment.do_nonshared == do_nonshared:
            self._log("info", f"DCSS {name} is already in the requested access mode")
            return segment
        if segment.users != 1:
            self._log("warn", f"DCSS {name} is in use and cannot be reloaded")
            raise KernelError(EAGAIN, f"DCSS {name} has {segment.users} users")
        self.iomem.release(segment.resource)
        if do_nonshared:
            segment.resource = segment.resource._replace(read_only=False)
        elif segment.type in {SegmentType.SR, SegmentType.ER}:
            segment.resource = segment.resource._replace(read_only=True)
        try:
            self.iomem.request(segment.resource)
        except KernelError:
            self._log("warn", f"DCSS {name} overlaps with used memory resources and cannot be reloaded")
            self._drop(segment)
            raise
        self._drop(segment)
        try:
            self._attach(segment, do_nonshared=do_nonshared, what=f"Reloading DCSS {name}")
        except KernelError:
            self.iomem.release(segment.resource)
            raise
        return segment

    def segment_save(self, name: str) -> None:
        """Have CP save a loaded segment: DEFSEG over it, then SAVESEG (DIAGNOSE X'08', class E).

        As in C nothing is returned: a refusal goes to the log. Options of the definition (LOADNSHR, RSTD) are lost.
        """
        segment = self._segments.get(dcss_mkname(name))
        if segment is None:
            self._log("err", f"Saving unknown DCSS {name} failed")
            return
        ranges = " ".join(f"{r.first_page:X}-{r.last_page:X} {r.type.name}" for r in segment.ranges)
        for verb, command in (("DEFSEG", f"DEFSEG {segment.name} {ranges}"), ("SAVESEG", f"SAVESEG {segment.name}")):
            code = cpcmd(self.machine, command).return_code
            if code:
                self._log("err", f"Saving a DCSS failed with {verb} response code {code}")
                return

    def segment_warning(self, error: KernelError, name: str) -> None:
        """Log why a load failed, in the words of segment_warning()."""
        text = WARNINGS.get(error.errno or 0)
        if text is not None:
            self._log("err", text.format(name=name, limit=VMEM_MAX_PHYS))

    def segments(self) -> list[DcssSegment]:
        """Return the loaded segments by address."""
        return sorted(self._segments.values(), key=lambda segment: segment.start)

    def _log(self, level: str, message: str) -> None:
        self.log.log(level, f"extmem: {message}")

    def _load(self, name: str, *, do_nonshared: bool) -> DcssSegment:
        extent, kind = self._query_segment_type(name)
        if self._diag.subcodes is NEW_SUBCODES:
            self._check_megabytes(name, extent)
        self._check_mapping(name, extent)
        read_only = kind is SegmentType.SC or (kind.read_only and not do_nonshared)
        key = SegmentName.from_ebcdic(dcss_mkname(name))  # CP knew it, so it is a name
        resource = Resource(f"{key:8} (DCSS)", extent.start, extent.end, read_only)
        segment = DcssSegment(key, extent.start, extent.end, kind, do_nonshared, extent.ranges, resource)
        self.iomem.request(resource)
        try:
            self._attach(segment, do_nonshared=do_nonshared, what=f"Loading DCSS {name}")
        except KernelError:
            self.iomem.release(resource)
            raise
        mode = "as exclusive-writable" if do_nonshared else "in shared access mode"
        place = f"of range {segment.start:016x} to {segment.end:016x}"
        self._log("info", f"DCSS {name} {place} and type {kind.label} loaded {mode}")
        return segment

    def _check_megabytes(self, name: str, extent: SegmentExtent) -> None:
        first, last = extent.start // SEGMENT_SIZE, extent.end // SEGMENT_SIZE
        for other in self._segments.values():
            if first <= other.end // SEGMENT_SIZE and other.start // SEGMENT_SIZE <= last:
                raise KernelError(EBUSY, f"DCSS {name} shares a megabyte with DCSS {other.name}")

    def _check_mapping(self, name: str, extent: SegmentExtent) -> None:
        """Refuse what vmem_add_mapping() refuses: beyond its range, or over storage that is mapped already."""
        if extent.end < extent.start or extent.end >= VMEM_MAX_PHYS:
            raise KernelError(ERANGE, f"DCSS {name} ends at {extent.end:#x}, the mapping range at {VMEM_MAX_PHYS:#x}")
        storage = self.machine.storage.size_bytes
        if extent.start < storage:
            raise KernelError(ENOSPC, f"DCSS {name} starts at {extent.start:#x}, real storage ends at {storage:#x}")
        for other in self._segments.values():
            if extent.start <= other.end and other.start <= extent.end:
                raise KernelError(ENOSPC, f"DCSS {name} overlaps DCSS {other.name}")

    def _attach(self, segment: DcssSegment, *, do_nonshared: bool, what: str) -> None:
        """Have CP load the segment, map it and list it. Where that fails it is purged, and in no list."""
        result = self._diag.load(segment.name.ebcdic, do_nonshared=do_nonshared)
        try:
            if result.condition_code > 1 or result.descriptor is None:
                self._log("warn", f"{what} failed with rc={result.ry}")
                raise _diag_error(what, result)
            if (result.rx, result.ry) != (segment.start, segment.end):
                # Linux takes the new addresses, which its kernel has not mapped, and stops at the first access.
                raise KernelError(EIO, f"{what}: moved from {segment.start:#x} to {result.rx:#x} since it was queried")
            segment.do_nonshared = do_nonshared
            self._map(segment, result.descriptor, what)
        except KernelError:
            if result.descriptor is not None:
                os.close(result.descriptor)
            self._diag.purge(segment.name.ebcdic)
            raise
        self._segments[segment.name.ebcdic] = segment

    def _map(self, segment: DcssSegment, descriptor: int, what: str) -> None:
        first_page = segment.start >> PAGE_SHIFT
        storage = AttachedStorage(
            first_page=first_page,
            pages=(segment.end + 1 >> PAGE_SHIFT) - first_page,
            descriptor=descriptor,
            offset=0,
            private=segment.do_nonshared or segment.type.exclusive,
            writable=segment.writable,
        )
        try:
            self.machine.attach(storage)
        except OSError as error:  # EACCES: what has the name now is no longer of a type that all may write
            raise KernelError(ENOMEM if error.errno == ENOMEM else EIO, f"{what}: cannot be mapped: {error}") from error

    def _drop(self, segment: DcssSegment) -> None:
        self.machine.detach(segment.start >> PAGE_SHIFT, segment.end >> PAGE_SHIFT)
        del self._segments[segment.name.ebcdic]
        self._diag.purge(segment.name.ebcdic)

    def _query_segment_type(self, name: str) -> tuple[SegmentExtent, SegmentType]:
        result, extent = self._diag.query(dcss_mkname(name))
        if extent is None:
            self._log("warn", f"Querying a DCSS type failed with rc={result.ry}")
            raise _diag_error(f"Querying DCSS {name}", result)
        if extent.range_count > LINUX_RANGES:
            raise KernelError(EOPNOTSUPP, f"DCSS {name} has {extent.range_count} page ranges")
        return extent, _type_of(name, extent)


def toupper(name: str) -> str:
    """Return a name as the drivers make it: letters in upper case, and no other character changed."""
    return name.encode("latin-1", "replace").upper().decode("latin-1")


def dcss_mkname(name: str) -> bytes:
    """Return CP's form of a name: its first eight characters in upper case, padded with blanks, in EBCDIC."""
    return toupper(name[:_NAME_LENGTH]).ljust(_NAME_LENGTH).encode("cp037")


def _type_of(name: str, extent: SegmentExtent) -> SegmentType:
    if len(extent.ranges) == 1:
        return extent.ranges[0].type
    page = extent.start >> PAGE_SHIFT
    for piece in extent.ranges:
        if piece.type not in {SegmentType.EW, SegmentType.EN} or piece.first_page != page:
            raise KernelError(EOPNOTSUPP, f"DCSS {name} has ranges that are not contiguous, or not all EW or EN")
        page = piece.last_page + 1
    return SegmentType.EWEN


def _diag_error(what: str, result: DiagnoseResult) -> HypercallError:
    errno = ENOENT if result.ry == ReturnCode.NOT_FOUND else EIO
    return HypercallError(
        errno,
        f"{what}: condition code {result.condition_code}, return code {result.ry}",
        result.condition_code,
        result.ry,
    )

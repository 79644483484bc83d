"""The guest's use of segments, as arch/s390/mm/extmem.c has it: load, unload, access mode, save, type, messages.

Order of checks, errno and messages are those of Linux 3.13; segments are loaded with the 64-bit function codes.
"""

import os
from dataclasses import dataclass, field
from errno import EAGAIN, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, ERANGE

from dcss.abi.diag64 import (
    FINDSEGA,
    LINUX_RANGES,
    QIN64,
    QOUT64,
    QOUT64_LINUX_SIZE_BYTES,
    QRANGE,
    Diag64,
    Qin64,
    Qout64,
    Qrange,
    ReturnCode,
)
from dcss.abi.extmem import MAX_DCSS_ADDR, PAGE_SHIFT, PAGE_SIZE, SEGMENT_SIZE, PageRange, SegmentName, SegmentType
from dcss.errors import HypercallError, KernelError
from vmguest.cpcmd import cpcmd
from vmguest.machine import AttachedStorage, Diagnosed, Machine
from vmguest.printk import KernelLog

VMEM_MAX_PHYS = MAX_DCSS_ADDR
_NAME_AREA, _QIN_AREA, _QOUT_AREA = 0, 64, 128  # places in the page that holds operands of DIAGNOSE

WARNINGS = {
    ENOENT: "DCSS {name} cannot be loaded or queried",
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
    users: int = 1


@dataclass(frozen=True, slots=True)
class SegmentAttributes:
    """What SEGEXT says of a segment that may be loaded."""

    start: int
    end: int
    type: SegmentType
    ranges: tuple[PageRange, ...]


@dataclass(slots=True)
class Extmem:
    """The list of loaded segments and the calls that change it; raises KernelError where the C code returns -errno."""

    machine: Machine
    log: KernelLog
    _segments: dict[SegmentName, DcssSegment] = field(default_factory=dict)
    _operand_frame: int | None = None

    def segment_type(self, name: str) -> SegmentType:
        """Return the type of a segment, loaded or not."""
        return self._query_segment_type(dcss_mkname(name)).type

    def segment_load(self, name: str, *, do_nonshared: bool) -> DcssSegment:
        """Load a segment and map it at its absolute address; a second load in the same mode adds a user."""
        key = dcss_mkname(name)
        loaded = self._segments.get(key)
        if loaded is None:
            return self._load(key, do_nonshared=do_nonshared)
        if loaded.do_nonshared != do_nonshared:
            raise KernelError(EPERM, f"DCSS {key} is loaded in the other access mode")
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
            self._drop(segment)

    def segment_modify_shared(self, name: str, *, do_nonshared: bool) -> DcssSegment:
        """Reload a segment in the other access mode. A failed reload drops it altogether, as the C code does."""
        key = dcss_mkname(name)
        segment = self._segments.get(key)
        if segment is None:
            raise KernelError(EINVAL, f"DCSS {key} is not loaded")
        if segment.do_nonshared == do_nonshared:
            self._log("info", f"DCSS {key} is already in the requested access mode")
            return segment
        if segment.users != 1:
            self._log("warn", f"DCSS {key} is in use and cannot be reloaded")
            raise KernelError(EAGAIN, f"DCSS {key} has {segment.users} users")
        self._drop(segment)
        attributes = SegmentAttributes(segment.start, segment.end, segment.type, segment.ranges)
        return self._diag_load(key, attributes, do_nonshared=do_nonshared, verb="Reloading")

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
        """Return the loaded segments by address, as /proc/iomem lists them."""
        return sorted(self._segments.values(), key=lambda segment: segment.start)

    def _log(self, level: str, message: str) -> None:
        self.log.log(level, f"extmem: {message}")

    def _load(self, name: SegmentName, *, do_nonshared: bool) -> DcssSegment:
        attributes = self._query_segment_type(name)
        self._check_place(name, attributes)
        segment = self._diag_load(name, attributes, do_nonshared=do_nonshared, verb="Loading")
        mode = "as exclusive-writable" if do_nonshared else "in shared access mode"
        place = f"of range {segment.start:016x} to {segment.end:016x}"
        self._log("info", f"DCSS {name} {place} and type {segment.type.label} loaded {mode}")
        return segment

    def _check_place(self, name: SegmentName, attributes: SegmentAttributes) -> None:
        start, end = attributes.start, attributes.end
        for other in self._segments.values():
            if (
                start // SEGMENT_SIZE <= other.end // SEGMENT_SIZE
                and other.start // SEGMENT_SIZE <= end // SEGMENT_SIZE
            ):
                raise KernelError(EBUSY, f"DCSS {name} shares a megabyte with DCSS {other.name}")
        if end < start or end >= VMEM_MAX_PHYS:
            raise KernelError(ERANGE, f"DCSS {name} ends at {end:#x}, the mapping range at {VMEM_MAX_PHYS:#x}")
        if start < self.machine.storage.size_bytes:
            raise KernelError(
                ENOSPC, f"DCSS {name} starts at {start:#x}, real storage ends at {self.machine.storage.size_bytes:#x}"
            )

    def _diag_load(
        self, name: SegmentName, attributes: SegmentAttributes, *, do_nonshared: bool, verb: str
    ) -> DcssSegment:
        result = self._dcss_diag(Diag64.LOADNSRX if do_nonshared else Diag64.LOADSHRX, name)
        if result.condition_code > 1 or result.descriptor is None:
            if result.descriptor is not None:
                os.close(result.descriptor)
            self._log("warn", f"{verb} DCSS {name} failed with rc={result.ry}")
            raise _diag_error(f"{verb} DCSS {name}", result)
        private = do_nonshared or attributes.type.exclusive
        storage = AttachedStorage(
            first_page=result.rx >> PAGE_SHIFT,
            pages=(result.ry + 1 - result.rx) >> PAGE_SHIFT,
            descriptor=result.descriptor,
            offset=0,
            private=private,
            writable=do_nonshared or not attributes.type.read_only,
        )
        try:
            self.machine.attach(storage)
        except OSError as error:
            os.close(result.descriptor)
            self._dcss_diag(Diag64.PURGESEG, name)
            raise KernelError(ENOMEM, f"DCSS {name} cannot be mapped: {error}") from error
        segment = DcssSegment(name, result.rx, result.ry, attributes.type, do_nonshared, attributes.ranges)
        self._segments[name] = segment
        return segment

    def _drop(self, segment: DcssSegment) -> None:
        self.machine.detach(segment.start >> PAGE_SHIFT, segment.end >> PAGE_SHIFT)
        self._dcss_diag(Diag64.PURGESEG, segment.name)
        del self._segments[segment.name]

    def _query_segment_type(self, name: SegmentName) -> SegmentAttributes:
        area = Qin64(FINDSEGA, b"", 0, b"", name.ebcdic, self._operands() + _QOUT_AREA, QOUT64_LINUX_SIZE_BYTES)
        storage = self.machine.storage
        storage.view(self._operands() + _QIN_AREA, QIN64.size)[:] = QIN64.pack(*area)
        result = self.machine.diagnose_64(self._operands() + _QIN_AREA, Diag64.SEGEXTX)
        if result.condition_code > 1:
            self._log("warn", f"Querying a DCSS type failed with rc={result.ry}")
            raise _diag_error(f"Querying DCSS {name}", result)
        out = storage.view(self._operands() + _QOUT_AREA, QOUT64_LINUX_SIZE_BYTES)
        head = Qout64._make(QOUT64.unpack_from(out))
        if head.segcnt > LINUX_RANGES:
            raise KernelError(EOPNOTSUPP, f"DCSS {name} has {head.segcnt} page ranges")
        ranges = [Qrange._make(QRANGE.unpack_from(out, QOUT64.size + i * QRANGE.size)) for i in range(head.segcnt)]
        pieces = tuple(
            PageRange(r.start >> PAGE_SHIFT, r.end >> PAGE_SHIFT, SegmentType(r.start & 0xFF)) for r in ranges
        )
        return SegmentAttributes(head.segstart, head.segend, _type_of(name, head, pieces), pieces)

    def _dcss_diag(self, function: Diag64, name: SegmentName) -> Diagnosed:
        self.machine.storage.view(self._operands() + _NAME_AREA, len(name.ebcdic))[:] = name.ebcdic
        return self.machine.diagnose_64(self._operands() + _NAME_AREA, function)

    def _operands(self) -> int:
        if self._operand_frame is None:
            self._operand_frame = self.machine.storage.allocate(1)
        return self._operand_frame * PAGE_SIZE


def dcss_mkname(name: str) -> SegmentName:
    """Upper-case the first eight characters. Raises KernelError(ENOENT) where that is no name: CP would not know it."""
    try:
        return SegmentName(name[:8].upper())
    except ValueError as error:
        raise KernelError(ENOENT, str(error)) from error


def _type_of(name: SegmentName, head: Qout64, ranges: tuple[PageRange, ...]) -> SegmentType:
    if len(ranges) == 1:
        return ranges[0].type
    page = head.segstart >> PAGE_SHIFT
    for piece in ranges:
        if piece.type not in {SegmentType.EW, SegmentType.EN} or piece.first_page != page:
            raise KernelError(EOPNOTSUPP, f"DCSS {name} has ranges that are not contiguous, or not all EW or EN")
        page = piece.last_page + 1
    return SegmentType.EWEN


def _diag_error(what: str, result: Diagnosed) -> HypercallError:
    errno = ENOENT if result.ry == ReturnCode.NOT_FOUND else EIO
    return HypercallError(
        errno,
        f"{what}: condition code {result.condition_code}, return code {result.ry}",
        result.condition_code,
        result.ry,
    )

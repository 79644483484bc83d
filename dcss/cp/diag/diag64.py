"""CP's side of DIAGNOSE X'64': one function per subcode, and the one place that makes condition and return codes.

The request's block is what the guest's port copied from storage at Rx: the 8-byte name, or for SEGEXT and SEGEXTX the
24 bytes of struct qin64. The reply's block is what goes into storage: SEGEXT's output area, at its `qoutptr`.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from struct import Struct

from dcss.abi.diag64 import (
    FINDSEGA,
    NAME_SIZE_BYTES,
    QIN64,
    QOUT64,
    QOUT64_OLD,
    QRANGE,
    QRANGE_OLD,
    ConditionCode,
    Diag64,
    Qin64,
    ReturnCode,
)
from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.abi.hypercall import Reply, Request
from dcss.abi.page import PAGE_SIZE
from dcss.cp.machine import RegisteredMachine
from dcss.cp.operations import Host
from dcss.cp.segments.directory import SegmentDirectory
from dcss.cp.segments.segment import RefusalError
from dcss.errors import DcssError

LIMIT_31_BIT = 1 << 31
DOUBLEWORD_BYTES = 8

Function = Callable[[SegmentDirectory, RegisteredMachine, Request], Awaitable[Reply]]


async def diagnose_64(host: Host, machine: RegisteredMachine, request: Request) -> Reply:
    """Answer one DIAGNOSE X'64' of `machine`. Raises nothing, whatever the guest sends.

    The descriptor of a load's reply belongs to CP: the sender leaves it open.
    """
    function = _FUNCTIONS.get(request.ry)
    if function is None:
        return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)
    try:
        return await function(host.directory, machine, request)
    except RefusalError as refusal:
        if not isinstance(refusal.__cause__, ValueError):  # with what is no name Linux asks which functions there are
            host.findings.refused(machine.name, Diag64(request.ry).name, refusal.return_code, str(refusal))
        return Reply(ConditionCode.FAILED, request.rx, refusal.return_code)
    except (OSError, DcssError) as error:  # the content could not be brought into storage
        host.findings.load_failed(machine.name, error)
        return Reply(ConditionCode.FAILED, request.rx, ReturnCode.PAGING_ERROR)


async def _load(
    directory: SegmentDirectory,
    machine: RegisteredMachine,
    request: Request,
    *,
    shared: bool,
    extended: bool,
    overlay: bool,
) -> Reply:
    check = partial(_check_reach, extended=extended)
    load = await directory.load(machine, _name(request), shared=shared, overlay=overlay, check=check)
    definition = load.segment.definition
    inside = definition.start < machine.storage_bytes
    condition_code = ConditionCode.INSIDE_STORAGE if inside else ConditionCode.DONE
    return Reply(condition_code, definition.start, definition.end, descriptor=load.descriptor)


async def _find(directory: SegmentDirectory, machine: RegisteredMachine, request: Request, *, extended: bool) -> Reply:
    segment, loaded = directory.find(machine, _name(request))
    _check_reach(segment.definition, extended=extended)
    condition_code = ConditionCode.DONE if loaded else ConditionCode.INSIDE_STORAGE
    return Reply(condition_code, segment.definition.start, segment.definition.end)


async def _purge(directory: SegmentDirectory, machine: RegisteredMachine, request: Request) -> Reply:
    name = _name(request)
    if name in machine.loads:
        directory.unload(machine, name)
        return Reply(ConditionCode.DONE, request.rx, request.ry)
    directory.available_segment(name)  # refuses with 44 what does not exist
    return Reply(ConditionCode.INSIDE_STORAGE, request.rx, ReturnCode.NOT_FOUND)


async def _segext(
    directory: SegmentDirectory, machine: RegisteredMachine, request: Request, *, extended: bool
) -> Reply:
    _check_area(request.rx, QIN64.size, "input area")
    if len(request.block) != QIN64.size:
        raise RefusalError(ReturnCode.BAD_AREA, f"input area: found {len(request.block)} bytes, wanted {QIN64.size}")
    area = Qin64._make(QIN64.unpack(request.block))
    if area.qopcode != FINDSEGA:
        raise RefusalError(ReturnCode.BAD_AREA, f"input area: found opcode {area.qopcode:#x}, wanted {FINDSEGA:#x}")
    _check_area(area.qoutptr, area.qoutlen, "output area")
    segment, _ = directory.find(machine, _segment_name(area.qname))
    _check_reach(segment.definition, extended=extended)
    head, entry = (QOUT64, QRANGE) if extended else (QOUT64_OLD, QRANGE_OLD)
    return Reply(
        ConditionCode.DONE, request.rx, request.ry, _output_area(segment.definition, area.qoutlen, head, entry)
    )


def _output_area(definition: SegmentDefinition, room_bytes: int, head: Struct, entry: Struct) -> bytes:
    """Pack start, end, ranges defined, ranges returned, then as many ranges as there is room for."""
    if room_bytes < head.size:
        raise RefusalError(ReturnCode.BAD_AREA, f"output area: found {room_bytes} bytes, wanted at least {head.size}")
    returned = definition.ranges[: (room_bytes - head.size) // entry.size]
    area = head.pack(definition.start, definition.end, len(definition.ranges), len(returned))
    return area + b"".join(entry.pack(found.start | found.type, found.end) for found in returned)


def _name(request: Request) -> SegmentName:
    _check_area(request.rx, NAME_SIZE_BYTES, "name")
    if len(request.block) != NAME_SIZE_BYTES:
        raise RefusalError(ReturnCode.BAD_AREA, f"name: found {len(request.block)} bytes, wanted {NAME_SIZE_BYTES}")
    return _segment_name(request.block)


def _segment_name(ebcdic: bytes) -> SegmentName:
    try:
        return SegmentName.from_ebcdic(ebcdic)
    except ValueError as error:  # Linux probes with an ASCII name: simply a segment that does not exist
        raise RefusalError(ReturnCode.NOT_FOUND, str(error)) from error


def _check_area(address: int, size_bytes: int, what: str) -> None:
    if address % DOUBLEWORD_BYTES or address % PAGE_SIZE + size_bytes > PAGE_SIZE:
        raise RefusalError(
            ReturnCode.BAD_AREA, f"{what}: {size_bytes} bytes at {address:#x}, wanted a doubleword, within one page"
        )


def _check_reach(definition: SegmentDefinition, *, extended: bool) -> None:
    if not extended and definition.end >= LIMIT_31_BIT:
        raise RefusalError(
            ReturnCode.ABOVE_2G, f"segment {definition.name}: ends at {definition.end:#x}, above a 31-bit call"
        )


_FUNCTIONS: dict[int, Function] = {
    Diag64.LOADSHR: partial(_load, shared=True, extended=False, overlay=True),
    Diag64.LOADNSHR: partial(_load, shared=False, extended=False, overlay=True),
    Diag64.PURGESEG: _purge,
    Diag64.FINDSEG: partial(_find, extended=False),
    Diag64.LOADNOLY: partial(_load, shared=True, extended=False, overlay=False),
    Diag64.SEGEXT: partial(_segext, extended=False),
    Diag64.LOADSHRX: partial(_load, shared=True, extended=True, overlay=True),
    Diag64.LOADNSRX: partial(_load, shared=False, extended=True, overlay=True),
    Diag64.FINDSEGX: partial(_find, extended=True),
    Diag64.SEGEXTX: partial(_segext, extended=True),
}

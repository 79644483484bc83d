"""What processes share that nobody here started: objects in common, who else maps them, and a line for each process."""

from collections.abc import Sequence

from dcss.report.blocks import Block, Cell, Column, Mark, Note, Row, Table, bytes_cell, count_cell, text_cell
from dcss.report.shortened import shortened
from dcss.report.units import UNKNOWN
from dcss.results import FileProof, InspectedObject, InspectedProcess, InspectResult

PROCESSES = ("process", "processes")
_MIB = 1 << 20
_OBJECTS_SHOWN = 20
_OTHERS_SHOWN = 4

_OBJECT_COLUMNS = (
    Column(""),
    Column("SIZE", right=True),
    Column("PAGES", right=True),
    Column("CHECKED", right=True),
    Column("IN ONE FRAME", right=True),
    Column("MAPPED BY", right=True),
    Column("OTHERS", right=True),
    Column("FILE OR OBJECT"),
)
_PROCESS_COLUMNS = (
    Column("PID", right=True),
    Column("PROGRAM", min_width=8),
    Column("PRIVATE", right=True, suffix=" +"),
    Column("SHARED", right=True, suffix=" ="),
    Column("TOTAL", right=True),
    Column("COPIES", right=True),
    Column("MERGED", right=True),
)
_MEANINGS = (
    "PRIVATE is frames that only this process maps, SHARED all others that it maps; COPIES is what its own memory holds"
    " of the files and objects above, MERGED what of that KSM has merged with equal pages"
)


def object_blocks(result: InspectResult, *, show_all: bool) -> list[Block]:
    """Return a table of the objects, and who else maps them."""
    rows = [_object_row(result, each) for each in result.objects if each.unread is None]
    shown, more = shortened(rows, _OBJECTS_SHOWN, "object", show_all=show_all)
    table = [Table(_OBJECT_COLUMNS, tuple(shown))] if shown else []
    return [*table, *more, *_others_notes(result.objects, show_all=show_all)]


def process_blocks(result: InspectResult) -> list[Block]:
    """Return a line for each process, in MiB."""
    rows = tuple(_process_row(each) for each in result.processes)
    return [Note("Memory of the processes, in MiB:"), Table(_PROCESS_COLUMNS, rows)]


def meanings_note(indent: int) -> Note:
    """Return what the figures mean."""
    return Note(_MEANINGS, "measured by", indent=indent)


def _object_row(result: InspectResult, each: InspectedObject) -> Row:
    proof = next((file for file in result.verify.files if file.path == each.path), None)
    return (
        Mark(None if proof is None or not proof.checked_pages else proof.shared),
        bytes_cell(each.bytes),
        _count_of(proof, "pages"),
        _count_of(proof, "checked_pages"),
        count_cell(each.one_frame_pages),
        Cell(str(len(each.pids)), len(each.pids)),
        Cell(str(len(each.others)), len(each.others)),
        text_cell(each.path),
    )


def _count_of(proof: FileProof | None, name: str) -> Cell:
    return Cell("-", 0) if proof is None else count_cell(getattr(proof, name))


def _others_notes(objects: Sequence[InspectedObject], *, show_all: bool) -> list[Block]:
    """Return which processes map objects besides those that were named."""
    named = {other.pid: other.name for each in objects for other in each.others}
    if not named:
        return []
    every = [f"{pid} ({name})" for pid, name in sorted(named.items())]
    shown = every if show_all else every[:_OTHERS_SHOWN]
    more = f" and {len(every) - len(shown):,} more (-v shows all)" if len(shown) < len(every) else ""
    return [Note(f"Others that map some of these, which refutes nothing: {', '.join(shown)}{more}")]


def _process_row(each: InspectedProcess) -> Row:
    sizes = (each.private_bytes, each.shared_bytes)
    private, shared = (None if size is None else round(size / _MIB, 2) for size in sizes)
    # The sum of the rounded figures, so that every line adds up.
    total = None if private is None or shared is None else private + shared
    return (
        Cell(str(each.pid), each.pid),
        text_cell(each.name),
        _mib_cell(private, each.private_bytes),
        _mib_cell(shared, each.shared_bytes),
        _mib_cell(total, each.total_bytes),
        *(_mib_cell(None if size is None else size / _MIB, size) for size in (each.copied_bytes, each.merged_bytes)),
    )


def _mib_cell(amount: float | None, size_bytes: int | None) -> Cell:
    return Cell(UNKNOWN if amount is None else f"{amount:,.2f}", size_bytes)

"""What a configuration would start, as `dcss config` shows it."""

from collections.abc import Iterator, Sequence

from dcss.report.blocks import Block, Cell, Column, Note, Page, Row, Section, Table, bytes_cell, count_cell, text_cell
from dcss.report.units import fmt_count
from dcss.system.preview import GuestsPreview, SegmentPreview, StepPreview, SystemPreview

_INDENT = 2
_SEGMENTS = (
    Column("SEGMENT"),
    Column("ADDRESSES"),
    Column("TYPE"),
    Column("SIZE", right=True),
    Column("FILES", right=True),
    Column("CONTENT"),
)
_GUESTS = (
    Column("GUESTS"),
    Column("COUNT", right=True),
    Column("ENGINE"),
    Column("STORAGE", right=True),
    Column("EXPECT"),
    Column("MOUNTS"),
)
_PATTERNS = (Column("  PATTERN"), Column("FILES", right=True))
_STEPS = (Column("  STEP"), Column("FILES", right=True), Column("SIZE", right=True))


def preview_page(system: SystemPreview) -> Page:
    """Return the page of ``dcss config``."""
    sections: list[Section] = [[Note(f": nothing is started; dcss run {system.config} would", system.system, "bold")]]
    sections += [[Note(f" {warning}", "warning:", "doubtful") for warning in system.warnings]]
    sections.append([Table(_SEGMENTS, tuple(_segment_row(each) for each in system.segments))])
    sections += [list(_details(each)) for each in system.segments]
    if system.guests:
        sections.append([Table(_GUESTS, tuple(_guests_row(each) for each in system.guests))])
    sections += [[_steps(each)] for each in system.guests if each.steps]
    return sections


def _segment_row(segment: SegmentPreview) -> Row:
    return (
        text_cell(segment.name),
        text_cell(f"{segment.start:#x}-{segment.end:#x}"),
        text_cell(" ".join(dict.fromkeys(each.rpartition(" ")[2] for each in segment.ranges))),
        bytes_cell(segment.bytes),
        count_cell(segment.files),
        text_cell(segment.content),
    )


def _details(segment: SegmentPreview) -> Iterator[Block]:
    if segment.in_place:
        yield Note(f": mapped in place by {name_range(segment.in_place)}", segment.name, "bold", _INDENT)
    if segment.copied:
        yield Note(
            f": copied by {name_range(segment.copied)}, which mount it without xip", segment.name, "doubtful", _INDENT
        )
    if not segment.in_place and not segment.copied:
        yield Note(": mounted by no guest before its `run:` list begins", segment.name, "bold", _INDENT)
    if segment.patterns:
        rows = tuple((text_cell(f"  {each.pattern}"), count_cell(each.files)) for each in segment.patterns)
        yield Table(_PATTERNS, rows)
    if segment.left_out:
        yield Note(f"  {fmt_count(segment.left_out, 'file')} left out by up_to:", indent=_INDENT)
    yield from (Note(f"  {note}", indent=_INDENT) for note in segment.notes)


def _guests_row(guests: GuestsPreview) -> Row:
    return (
        text_cell(name_range(guests.names)),
        count_cell(len(guests.names)),
        text_cell(guests.engine),
        bytes_cell(guests.storage_bytes),
        text_cell(guests.expect),
        text_cell("; ".join(guests.mounts) or "-"),
    )


def _steps(guests: GuestsPreview) -> Table:
    columns = (Column(f"  {name_range(guests.names)} WOULD"), *_STEPS[1:])
    return Table(columns, tuple(_step_row(each) for each in guests.steps))


def _step_row(step: StepPreview) -> Row:
    if step.files is None:
        return (text_cell(f"  {step.step}"), Cell("-", None), Cell("-", None))
    return (text_cell(f"  {step.step}"), count_cell(step.files), bytes_cell(step.bytes))


def name_range(names: Sequence[str]) -> str:
    """Return ``LINUX01 to LINUX04``, or the names themselves where they are few."""
    return " ".join(names) if len(names) <= 2 else f"{names[0]} to {names[-1]}"

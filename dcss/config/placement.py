"""Where segments lie: by `define:`, by `at:`, or where the segment ends whose image goes on in this one."""

from collections.abc import Sequence
from typing import NamedTuple

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.config.models import SegmentModel
from dcss.config.names import joined_names


class Placement(NamedTuple):
    """Where a segment lies; with `size: auto` only its first page is known."""

    start: int
    end: int  # last byte


def continued_by(segment: SegmentModel) -> str | None:
    """Return the name of the segment whose image goes on in this one."""
    return None if segment.image is None else segment.image.continues


def joined_segments(segments: Sequence[SegmentModel]) -> list[tuple[str, ...]]:
    """Return the names of the segments that each image lies over, in order; most lie over one."""
    return joined_names({segment.name: continued_by(segment) for segment in segments})


def device_names(segments: Sequence[SegmentModel]) -> list[str]:
    """Return the devices of a guest without `dcssblk:`: each segment, and ``A:B`` where one image lies over several."""
    return [":".join(names) for names in joined_segments(segments)]


def definition_of(segment: SegmentModel) -> SegmentDefinition:
    """Return the definition of `define:`. Raises ValueError where the ranges do not go together."""
    ranges = tuple(PageRange.parse(words) for words in segment.define or ())
    return SegmentDefinition(SegmentName(segment.name), ranges)


def has_end(segment: SegmentModel) -> bool:
    """Return True if the file says where a segment ends, once it is known where it begins."""
    return segment.define is not None or segment.size is not None


def own_placement(segment: SegmentModel) -> Placement | None:
    """Return where a segment lies by what it says itself, or None where it says that wrongly or not at all."""
    return _placement(segment, None)


def placements_of(segments: Sequence[SegmentModel]) -> dict[str, Placement]:
    """Return where segments lie; left out are those whose place the file gives wrongly or not at all."""
    by_name = {segment.name: segment for segment in reversed(segments)}  # of two of a name the first counts
    placements: dict[str, Placement] = {}
    for names in joined_segments(segments):
        following: int | None = None  # the address behind the segment before
        for name in names:
            placement = _placement(by_name[name], following)
            following = None
            if placement is not None:
                placements[name] = placement
                following = placement.end + 1 if has_end(by_name[name]) else None
    return placements


def _placement(segment: SegmentModel, following: int | None) -> Placement | None:
    if segment.define is None:
        start = following if segment.at is None else segment.at
        return None if start is None else Placement(start, start + (segment.size or PAGE_SIZE) - 1)
    try:
        definition = definition_of(segment)
    except ValueError:
        return None
    return Placement(definition.start, definition.end)


def end_types_of(segments: Sequence[SegmentModel]) -> dict[str, tuple[SegmentType, SegmentType]]:
    """Return the types of each segment's first and last page; without `type:`, what continues an image has its type."""
    by_name = {segment.name: segment for segment in reversed(segments)}
    types: dict[str, tuple[SegmentType, SegmentType]] = {}
    for names in joined_segments(segments):
        inherited = None
        for name in names:
            types[name] = _end_types(by_name[name], inherited)
            inherited = types[name][1]
    return types


def _end_types(segment: SegmentModel, inherited: SegmentType | None) -> tuple[SegmentType, SegmentType]:
    if segment.define is not None:
        return PageRange.parse(segment.define[0]).type, PageRange.parse(segment.define[-1]).type
    if inherited is None or "type" in segment.model_fields_set:
        inherited = SegmentType[segment.type]
    return inherited, inherited

"""What a segment's bytes are when its first user comes: the saved content where a range keeps it, zeros elsewhere."""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dcss.abi.extmem import SegmentDefinition, SegmentType

Fill = Callable[[int], None]  # writes a segment's content to a descriptor positioned at 0; may be called again later
_ZEROS = bytes(1 << 20)


class Run(NamedTuple):
    """Consecutive bytes of a segment, from its start."""

    offset_bytes: int
    size_bytes: int


def zero_runs(definition: SegmentDefinition) -> Iterator[Run]:
    """Yield what reads as zeros at first: ranges of type SN and EN, and the gaps between ranges.

    SC is not among them: CP itself writes those pages.
    """
    offset_bytes = 0
    for page_range in definition.ranges:
        start_bytes = page_range.start - definition.start
        end_bytes = page_range.end - definition.start + 1
        if start_bytes > offset_bytes:
            yield Run(offset_bytes, start_bytes - offset_bytes)
        if not _keeps_content(page_range.type):
            yield Run(start_bytes, end_bytes - start_bytes)
        offset_bytes = end_bytes


def keeps_content(definition: SegmentDefinition) -> bool:
    """Tell whether any range shows what was put into it before the first load."""
    return any(_keeps_content(page_range.type) for page_range in definition.ranges)


def write_content(definition: SegmentDefinition, fill: Fill, write_fd: int) -> None:
    """Write a new object, whose bytes are zero: `fill`, then zeros where `zero_runs` says so."""
    if keeps_content(definition):
        os.lseek(write_fd, 0, os.SEEK_SET)
        fill(write_fd)
        for run in zero_runs(definition):
            _zero(write_fd, run)


def rewrite_content(definition: SegmentDefinition, fill: Fill, write_fd: int) -> None:
    """Write an object again that guests have written to."""
    _zero(write_fd, Run(0, definition.size_bytes))
    write_content(definition, fill, write_fd)


def _keeps_content(kind: SegmentType) -> bool:
    return kind.saved or kind is SegmentType.SC


def _zero(write_fd: int, run: Run) -> None:
    # Written, not punched out: the pages stay reserved, and CP's mapping keeps its frames.
    end_bytes = run.offset_bytes + run.size_bytes
    for offset_bytes in range(run.offset_bytes, end_bytes, len(_ZEROS)):
        os.pwrite(write_fd, memoryview(_ZEROS)[: end_bytes - offset_bytes], offset_bytes)

"""What programs use in place of segments, by the page tables that the guest kernel keeps: its own account, no proof."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from vmguest.mm import AddressSpace
from vmguest.s390x.space import UserSpace
from vmguest.storage import StorageKind

Run = tuple[int, int]  # page frames: the first one, and the one behind the last


def pages_in_place(spaces: Iterable[UserSpace], first_frame: int, mapped: Iterable[AddressSpace]) -> int:
    """Count the distinct frames from `first_frame` on that programs have in their tables, and `mapped` has not."""
    frames = {frame for space in set(spaces) for frame in space.present_frames() if frame >= first_frame}
    if not frames:
        return 0
    runs = _joined(run for each in mapped for run in _segment_runs(each))
    starts = [first for first, _ in runs]
    return sum(not _holds(runs, starts, frame) for frame in frames)


def _segment_runs(space: AddressSpace) -> Iterator[Run]:
    for area in space.areas:
        if area.file is None:
            continue
        for run in area.file.translate(area.file_page, area.pages):
            if run.kind is StorageKind.SEGMENT:
                yield run.page_frame, run.page_frame + run.pages


def _joined(runs: Iterable[Run]) -> list[Run]:
    """Return runs in order, those that touch or overlap as one."""
    joined: list[Run] = []
    for first, end in sorted(runs):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((first, end))
    return joined


def _holds(runs: list[Run], starts: list[int], frame: int) -> bool:
    index = bisect_right(starts, frame) - 1
    return index >= 0 and frame < runs[index][1]

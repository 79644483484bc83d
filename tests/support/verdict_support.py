"""Made-up snapshots, by which claims are judged: segments that nobody maps, and guests that are no processes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from segment_support import random_content, unmapped

from dcss.abi.pagemap import PM_FILE, PM_PRESENT
from dcss.account.pagemap import Entries
from dcss.account.targets import AddressRange, FileRuns, GuestTarget
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, SegmentPages, Snapshot

WINDOW, USER_AREA = AddressRange(0x1000000, 0x2000000), AddressRange(0x3000000, 0x4000000)


def segment(
    name: str,
    content: bytes | int,
    files: Sequence[FileRuns] = (),
    *,
    joined: tuple[str, ...] = (),
    **more: Any,
) -> SegmentView:
    """A segment of `content`, or of so many random pages; its object is named after it."""
    content = random_content(content, seed=sum(name.encode())) if isinstance(content, int) else content
    view = unmapped(content, files, name)
    shm_names = tuple(f"/{each}" for each in joined)
    return replace(view, target=replace(view.target, shm_name=f"/{name}", joined=shm_names, **more))


def guest(name: str, segments: Sequence[SegmentView], *, expect: Any = "shared", **more: Any) -> GuestView:
    """A guest that maps nothing yet."""
    target = GuestTarget(name, "process", (1,), expect, 64 << 20, WINDOW, USER_AREA, **more)
    return GuestView(target, (1,), None, [SegmentPages.of(each.pages) for each in segments])


def snapshot(segments: Sequence[SegmentView], guests: Sequence[GuestView] = (), *, frames: bool = True) -> Snapshot:
    """A snapshot in which CP has every page, in frames from 100 on, and nobody else has one."""
    entries: list[Entries] = []
    first_frame = 100
    for each in segments:
        numbers = np.arange(first_frame, first_frame + each.pages, dtype=np.uint64)
        entries.append(numbers | np.uint64(PM_PRESENT | PM_FILE))
        first_frame += each.pages
    return Snapshot(
        frames,
        list(segments),
        entries,
        [np.ones(each.pages, np.int64) for each in segments],
        [np.ones(each.pages, np.bool_) for each in segments],
        list(guests),
        [1, 2],
    )

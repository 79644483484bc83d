"""The pages of one segment in a guest, and of several that a file system lies over."""

import numpy as np

from dcss.verify.snapshot import SegmentPages


def test_the_pages_of_several_segments_become_one_row() -> None:
    first, second, third = (SegmentPages.of(pages) for pages in (3, 2, 4))
    first.mapped[0] = second.mapped[1] = third.mapped[2] = True
    first.proved[1] = third.proved[3] = True
    second.wrong[0] = True
    first.strange.append((np.array([2]), np.array([70], np.uint64)))
    second.strange.append((np.array([0, 1]), np.array([80, 81], np.uint64)))
    third.strange.append((np.array([3]), np.array([90], np.uint64)))
    joined = SegmentPages.joined([first, second, third])
    assert np.flatnonzero(joined.mapped).tolist() == [0, 4, 7]
    assert np.flatnonzero(joined.proved).tolist() == [1, 8]
    assert np.flatnonzero(joined.wrong).tolist() == [3]
    assert [(pages.tolist(), frames.tolist()) for pages, frames in joined.strange] == [
        ([2], [70]),
        ([3, 4], [80, 81]),
        ([8], [90]),
    ]
    assert SegmentPages.joined([second]) is second

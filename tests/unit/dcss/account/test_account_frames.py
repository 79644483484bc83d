"""Counts of /proc/kpagecount that end early, as in some containers."""

from pathlib import Path

import numpy as np
import pytest

from dcss.account import frames
from dcss.account.frames import FrameSet, map_counts
from dcss.errors import MeasurementDeniedError


@pytest.mark.parametrize("counts", [[], [1, 1]])
def test_counts_that_end_early_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: list[int]) -> None:
    book = tmp_path / "kpagecount"
    book.write_bytes(np.array(counts, np.uint64).tobytes())
    monkeypatch.setattr(frames, "_KPAGECOUNT", str(book))
    wanted = np.array([1, 3], np.uint64)
    assert map_counts(wanted).tolist() == [counts[1] if counts else 0, 0]
    with pytest.raises(MeasurementDeniedError, match=r"kpagecount: found .* bytes at frame 0x1, wanted 24"):
        map_counts(wanted, complete=True)


def test_whole_counts_are_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = tmp_path / "kpagecount"
    book.write_bytes(np.array([0, 7, 0, 9], np.uint64).tobytes())
    monkeypatch.setattr(frames, "_KPAGECOUNT", str(book))
    assert map_counts(np.array([3, 1], np.uint64), complete=True).tolist() == [9, 7]


@pytest.mark.parametrize("table_frames", [1 << 26, 0], ids=["by a table", "by search"])
def test_frames_are_found_among_others(monkeypatch: pytest.MonkeyPatch, table_frames: int) -> None:
    monkeypatch.setattr(frames, "_TABLE_FRAMES", table_frames)
    others = FrameSet()
    wanted = np.array([9, 0, 7, 8, 1 << 40, 7], np.uint64)
    assert not others.has(wanted).any()
    others.add(np.array([7, 3, 7], np.uint64))
    assert others.has(wanted).tolist() == [False, False, True, False, False, True]
    others.add(np.array([8, 0], np.uint64))
    assert others.has(wanted).tolist() == [False, True, True, True, False, True]
    assert others.has(wanted[:0]).tolist() == []

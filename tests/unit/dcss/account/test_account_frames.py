"""Counts of /proc/kpagecount that end early, as in some containers."""

from pathlib import Path

import numpy as np
import pytest

from dcss.account import frames
from dcss.account.frames import map_counts
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

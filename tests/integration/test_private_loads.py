"""Guests that load a segment as ER, EW or non-shared: the accounts show what they use in place, and what they wrote."""

from typing import Any

import pytest
from cli_support import GUEST, Dcss
from needs_support import needs

from dcss.abi.page import PAGE_SIZE

_LOADS = [("ER", ""), ("EW", ""), ("SR", "(local)")]


def _system(dcss: Dcss, kind: str, how: str) -> Any:
    segment = f"  - {{name: LIB, at: 0x20000000, type: {kind}, image: {{directory: tree}}}}"
    guests = f'name: G, count: 2, dcssblk: ["LIB{how}"], {GUEST}, run: [{{map: "/usr/lib/**"}}]'
    return dcss.config(guests, segment=segment)


@needs("frames")
@pytest.mark.parametrize(("kind", "how"), _LOADS)
def test_what_is_not_written_stands_in_the_segments_frames(dcss: Dcss, kind: str, how: str) -> None:
    ran = dcss.json("run", _system(dcss, kind, how))
    assert ran["verify"]["verdict"] == "verified"
    one_frame = ran["verify"]["claims"][0]
    assert (one_frame["claim"], one_frame["applies"], one_frame["holds"]) == ("one-frame-per-page", False, None)
    assert one_frame["detail"].startswith(f"LIB ({'loaded non-shared' if how else f'type {kind}'}) in 2 guests")
    file_bytes = 20 * 15 * PAGE_SIZE
    for guest in ran["measure"]["guests"]:
        assert guest["guest"]["xip_bytes"] >= file_bytes
        assert guest["written_segment_bytes"] == 0
    totals = ran["measure"]["totals"]
    assert totals["without_sharing_bytes"] >= 2 * file_bytes
    (segment,) = ran["measure"]["segments"]
    assert segment["unused_bytes"] <= segment["bytes"] - file_bytes


@needs("frames")
def test_what_a_guest_wrote_is_its_own(dcss: Dcss) -> None:
    segment = "  - {name: WORK, at: 0x20000000, type: EN, size: 1M}"
    path = dcss.config("name: A, dcssblk: [WORK]", "name: B, dcssblk: [WORK]", segment=segment)
    dcss("up", path, "-d")
    try:
        dcss("exec", "A", "--", "sh", "-c", "echo written > /dev/dcssblk0")
        written = {each["name"]: each["written_segment_bytes"] for each in dcss.json("measure")["guests"]}
        assert written == {"A": PAGE_SIZE, "B": 0}
        assert "A 4.0 KiB" in dcss("measure").stdout
    finally:
        dcss("down")

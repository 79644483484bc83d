"""Spans of a guest's start on its console."""

import struct

import pytest

from dcss.abi.console import PACKET_BYTES
from dcss.abi.timings import MAX_SPANS, STAGES, Span, pack_spans, unpack_spans


def test_spans_arrive_as_they_were_sent() -> None:
    spans = [Span(stage, 10 * number, 10 * number + 7) for number, stage in enumerate(STAGES)]
    assert unpack_spans(pack_spans(spans)) == spans
    assert unpack_spans(b"") == []


def test_as_many_as_one_packet_may_have_fit_into_one() -> None:
    spans = [Span("populate", 2**63, 2**63 + 1)] * MAX_SPANS
    assert len(b"T" + pack_spans(spans)) <= PACKET_BYTES


@pytest.mark.parametrize(
    "data",
    [b"x", struct.pack("<BQQ", len(STAGES), 1, 2), struct.pack("<BQQ", 0, 2, 1), struct.pack("<BQQB", 0, 1, 2, 0)],
    ids=["short", "unknown stage", "ends before it begins", "too long"],
)
def test_what_no_guest_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="timings: found"):
        unpack_spans(data)

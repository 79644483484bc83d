"""Where a guest's start goes: the data of T packets on its console, and what their stages are called.

Spans may lie in others: the hypercalls of a boot in that of its kernel, making pages present in a `map:` step. All
processes of the machine have the clock in common: CLOCK_MONOTONIC.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final, Literal, NamedTuple, get_args

Stage = Literal["kernel", "hypercalls", "mount", "map", "populate", "read", "load", "exec"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
MAX_SPANS: Final = 3000  # of one packet
_SPAN: Final = Struct("<BQQ")


class Span(NamedTuple):
    """From when to when a guest was in a stage of its start."""

    stage: Stage
    begin_ns: int
    end_ns: int


def pack_spans(spans: Iterable[Span]) -> bytes:
    """Return the data of one T packet, of MAX_SPANS at the most."""
    return b"".join(_SPAN.pack(STAGES.index(span.stage), span.begin_ns, span.end_ns) for span in spans)


def unpack_spans(data: bytes) -> list[Span]:
    """Read what `pack_spans` made. Raises ValueError where a guest sent anything else."""
    if len(data) % _SPAN.size:
        raise ValueError(f"timings: found {len(data)} bytes, wanted {_SPAN.size} for each span")
    spans = []
    for stage, begin_ns, end_ns in _SPAN.iter_unpack(data):
        if stage >= len(STAGES) or end_ns < begin_ns:
            raise ValueError(f"timings: found stage {stage} from {begin_ns} to {end_ns}")
        spans.append(Span(STAGES[stage], begin_ns, end_ns))
    return spans

"""`huge_pages: require`: a segment that lies in other pages is an error."""

import os

from dcss.config.plan import SegmentPlan
from dcss.cp.segments.segment import Segment
from dcss.errors import ConfigError
from dcss.host.mapping import HUGE_PAGE_BYTES


def check_place(plan: SegmentPlan, start: int, size_bytes: int) -> None:
    """Raise ConfigError where huge pages are required and the segment's place or size lets nothing be mapped by any."""
    if plan.huge_pages != "require":
        return
    if start % HUGE_PAGE_BYTES:
        found = f"a start at {start:#x}, wanted a multiple of {HUGE_PAGE_BYTES:#x} (2 MiB)"
    elif size_bytes < HUGE_PAGE_BYTES:
        found = f"a segment of {size_bytes} bytes, wanted at least {HUGE_PAGE_BYTES} (2 MiB)"
    else:
        return
    raise ConfigError(f"{_field(plan)}: segment {plan.name}: found {found}; huge_pages: auto takes any")


def check_huge_pages(plan: SegmentPlan, segment: Segment) -> None:
    """Raise ConfigError where a segment that CP has in storage does not lie in huge pages, as its plan requires."""
    from dcss.account.huge import huge_bytes  # which imports numpy: few systems require huge pages

    stored = segment.object
    found_bytes = huge_bytes(os.getpid(), {stored.address})[stored.address]
    wanted_bytes = stored.size_bytes - stored.size_bytes % HUGE_PAGE_BYTES
    if found_bytes is None or found_bytes < wanted_bytes:
        found = "an unknown number of" if found_bytes is None else str(found_bytes)
        raise ConfigError(
            f"{_field(plan)}: segment {plan.name}: found {found} bytes of {stored.name} in huge pages, wanted"
            f" {wanted_bytes}; dcss doctor says what this machine lacks, and what to do (or take what it has:"
            " huge_pages: auto)"
        )


def _field(plan: SegmentPlan) -> str:
    return plan.where if plan.place is None else plan.place.field("huge_pages")

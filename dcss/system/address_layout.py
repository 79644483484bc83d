"""Where segments lie in guests: checks that need the place and size of saved segments and of images."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from dcss.abi.extmem import SEGMENT_SIZE, SegmentDefinition, SegmentName
from dcss.config.names import device_segments
from dcss.config.plan import GuestPlan
from dcss.errors import ConfigError


def check_address_layout(definitions: Mapping[SegmentName, SegmentDefinition], guests: Sequence[GuestPlan]) -> None:
    """Raise ConfigError if a guest's storage reaches into a segment that it loads, or two segments share a megabyte."""
    findings = []
    for guest in {(guest.where, guest.dcssblk, guest.storage_bytes): guest for guest in guests}.values():
        names = {SegmentName(name) for device in guest.dcssblk for name in device_segments(device)}
        used = sorted((definitions[name] for name in names & definitions.keys()), key=lambda found: found.start)
        if used and used[0].start < guest.storage_bytes:
            findings.append(
                f"{guest.where}: guest {guest.name}: found storage up to {guest.storage_bytes:#x}, wanted at most"
                f" {used[0].start:#x}, where segment {used[0].name} begins"
            )
        for lower, upper in combinations(used, 2):
            if lower.end // SEGMENT_SIZE >= upper.start // SEGMENT_SIZE:
                findings.append(
                    f"{guest.where}: guest {guest.name}: found segments {lower.name} and {upper.name} in one megabyte,"
                    " wanted them apart, since it loads both"
                )
    if findings:
        raise ConfigError(*findings)

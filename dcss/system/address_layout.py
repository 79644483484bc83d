"""Where segments lie in guests: checks that need the place and size of saved segments and of images."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise

from dcss.abi.extmem import SEGMENT_SIZE, SegmentDefinition, SegmentName, adjoining_types
from dcss.config.names import device_segments
from dcss.config.plan import DEVICE_BYTES, GuestPlan
from dcss.errors import ConfigError


def check_address_layout(definitions: Mapping[SegmentName, SegmentDefinition], guests: Sequence[GuestPlan]) -> None:
    """Raise ConfigError where a guest cannot load its segments.

    Its storage may not reach into one, two may not share a megabyte, and those of one device must adjoin and have types
    that go together. What is a device of its machine has a size that its kernel takes.
    """
    findings: list[str] = []
    for guest in {(guest.where, guest.dcssblk, guest.storage_bytes): guest for guest in guests}.values():
        for device in guest.dcssblk:
            findings += _check_device(definitions, guest, device)
            if guest.has_devices:
                findings += _check_size(definitions, guest, device)
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


def _check_size(definitions: Mapping[SegmentName, SegmentDefinition], guest: GuestPlan, device: str) -> Iterator[str]:
    """Yield why a segment cannot be a device of an x86_64 machine."""
    for definition in (definitions[name] for name in map(SegmentName, device_segments(device)) if name in definitions):
        if definition.size_bytes % DEVICE_BYTES:
            yield (
                f"{guest.where}: guest {guest.name}: found segment {definition.name} of {definition.size_bytes} bytes,"
                f" wanted a multiple of {DEVICE_BYTES} (2 MiB), as x86_64 kernels take persistent memory (size: auto"
                " gives it that)"
            )


def _check_device(definitions: Mapping[SegmentName, SegmentDefinition], guest: GuestPlan, device: str) -> Iterator[str]:
    """Yield what dcssblk would refuse of a device of several segments."""
    names = [SegmentName(name) for name in device_segments(device)]
    members = sorted((definitions[name] for name in names if name in definitions), key=lambda found: found.start)
    for lower, upper in pairwise(members):
        where = f"{guest.where}: guest {guest.name}: dcssblk: {device}:"
        if upper.start > lower.end + 1:
            yield (
                f"{where} found {upper.name} at {upper.start:#x}, wanted it at {lower.end + 1:#x}, where {lower.name}"
                " ends, since the segments of a device adjoin"
            )
        lower_type, upper_type = lower.ranges[-1].type, upper.ranges[0].type
        if not adjoining_types(lower_type, upper_type):
            yield (
                f"{where} found {lower.name} of type {lower_type.name} and {upper.name} of {upper_type.name}, wanted"
                " one type in a device, or EW and EN"
            )

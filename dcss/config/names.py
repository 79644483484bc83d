"""Compose and split names: numbered guests, segments of a device."""

from collections.abc import Mapping, Sequence

_LOCAL = "(local)"


def guest_name(name: str, number: int, count: int) -> str:
    """Return ``LINUX07``: the number is padded to the width of `count`, two digits at least."""
    return f"{name}{number:0{max(2, len(str(count)))}d}"


def joined_names(continued: Mapping[str, str | None]) -> list[tuple[str, ...]]:
    """Return the segments that each image lies over, in order; `continued` names for each the one it continues.

    What is wrong (a name that is not known, or taken already, or one of a circle) stands alone.
    """
    following = {before: name for name, before in reversed(list(continued.items())) if before in continued}
    groups: list[tuple[str, ...]] = []
    for first, before in continued.items():
        if following.get(before) != first:
            names = [first]
            while names[-1] in following:
                names.append(following[names[-1]])
            groups.append(tuple(names))
    grouped = {name for names in groups for name in names}
    return groups + [(name,) for name in continued if name not in grouped]


def mounted_segments(devices: Sequence[str], device: str) -> tuple[str, ...]:
    """Return the segments of ``dcssblk1`` or ``/dev/dcssblk1``, of a guest with these `devices`; none for another."""
    for number, segments in enumerate(devices):
        if device.removeprefix("/dev/") == f"dcssblk{number}":
            return device_segments(segments)
    return ()


def device_segments(device: str) -> tuple[str, ...]:
    """Return the segments of one entry of dcssblk's ``segments=``, such as ``A:B(local)``."""
    return tuple(device.removesuffix(_LOCAL).split(":"))

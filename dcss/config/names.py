"""Compose and split names: numbered guests, segments of a device."""

from collections.abc import Sequence

_LOCAL = "(local)"


def guest_name(name: str, number: int, count: int) -> str:
    """Return ``LINUX07``: the number is padded to the width of `count`, two digits at least."""
    return f"{name}{number:0{max(2, len(str(count)))}d}"


def mounted_segments(devices: Sequence[str], device: str) -> tuple[str, ...]:
    """Return the segments of ``dcssblk1`` or ``/dev/dcssblk1``, of a guest with these `devices`; none for another."""
    for number, segments in enumerate(devices):
        if device.removeprefix("/dev/") == f"dcssblk{number}":
            return device_segments(segments)
    return ()


def device_segments(device: str) -> tuple[str, ...]:
    """Return the segments of one entry of dcssblk's ``segments=``, such as ``A:B(local)``."""
    return tuple(device.removesuffix(_LOCAL).split(":"))

"""The ways to file bytes that `compare` tries, and the configuration of each: the same guests, mounted otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from dcss.abi.mount import IN_PLACE
from dcss.config.document import Document
from dcss.config.load import plan_of
from dcss.config.plan import MountMode, SystemPlan
from dcss.errors import ConfigError

Way = Literal["xip", "mtd", "page-cache", "ramdisk", "ksm"]
WAYS: Final[tuple[Way, ...]] = ("xip", "mtd", "page-cache", "ramdisk", "ksm")
_MODES: Final[dict[Way, MountMode]] = {
    "xip": "xip",
    "mtd": "mtd",
    "page-cache": "page-cache",
    "ramdisk": "ramdisk",
    "ksm": "page-cache",
}
_EXPECT: Final[dict[Way, str]] = {"page-cache": "copies", "ramdisk": "copies", "ksm": "nothing"}  # merged is no copy
_LONGEST_NAME = 64


def plan_for(way: Way, document: Document, path: Path) -> SystemPlan:
    """Return the plan in which every guest reaches the files of its segments by one way.

    All guests may use storage up to the lowest segment, since ways that copy need more than others. Raises ConfigError
    where the configuration cannot be run so.
    """
    data = document.data if isinstance(document.data, Mapping) else {}
    guests = data.get("guests")
    if isinstance(guests, list):
        data = {**data, "guests": [_guest(guest, way) for guest in guests]}
    plan = plan_of(replace(document, data=data, problems=list(document.problems)), path)
    if not any(mount.type == "ext2" for guest in plan.guests for mount in guest.mounts):
        raise ConfigError(f"{path}: guests: found none that mounts a segment, wanted one to compare by")
    return _with_room(replace(plan, name=f"{plan.name[: _LONGEST_NAME - 1 - len(way)]}-{way}"))


def _guest(guest: Any, way: Way) -> Any:
    """Return a guest's part of the YAML with its mounts changed; what is wrong in it stays, and is found later."""
    mounts = guest.get("mounts") if isinstance(guest, Mapping) else None
    if not isinstance(mounts, list):
        return guest
    expect = {"expect": _EXPECT[way]} if way in _EXPECT else {}
    kept = {key: value for key, value in guest.items() if key != "expect" or value == "nothing"}
    if kept.get("expect") == "nothing":
        expect = {}
    return {**kept, **expect, "mounts": [_mount(mount, way) for mount in mounts]}


def _mount(mount: Any, way: Way) -> Any:
    if not isinstance(mount, Mapping) or mount.get("type", "ext2") != "ext2":
        return mount
    if not str(mount.get("device", "")).startswith("dcssblk"):
        return mount
    options = mount.get("options", [])
    kept = [option for option in options if option not in IN_PLACE] if isinstance(options, list) else options
    return {**mount, "options": kept, "mode": _MODES[way]}


def _with_room(plan: SystemPlan) -> SystemPlan:
    starts = [
        segment.definition.start if segment.definition is not None else segment.start_address
        for segment in plan.segments
    ]
    lowest_bytes = min((start for start in starts if start is not None), default=0)
    guests = tuple(replace(guest, storage_bytes=max(guest.storage_bytes, lowest_bytes)) for guest in plan.guests)
    return replace(plan, guests=guests)

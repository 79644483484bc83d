"""Say which files the patterns of a guest's steps match, before anything is started."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from dcss.config.names import mounted_segments
from dcss.config.plan import GuestPlan, MountPlan
from dcss.ext2.mkfs.tree import Tree
from dcss.image.contents import MatchedFiles, matched_files
from dcss.system.planned import PlannedSegment

_GUESTS_OWN: Final = frozenset({"dev", "proc", "sys", "tmp"})  # directories of / over which every guest mounts its own


def trees_of(planned: Mapping[str, PlannedSegment]) -> dict[str, Tree]:
    """Return what each segment's image holds, by the segment's name, where that is known."""
    return {
        name: each.image.tree
        for name, each in planned.items()
        if each.image is not None and each.image.tree is not None
    }


def matches(pattern: str, guest: GuestPlan, trees: Mapping[str, Tree]) -> MatchedFiles | None:
    """Return what the pattern matches in the file system that it begins in, or None where that is not known."""
    mount = mount_of(pattern, guest)
    tree = None if mount is None else mounted_tree(mounted_segments(guest.dcssblk, mount.device), trees)
    if mount is None or tree is None or _GUESTS_OWN.intersection(pattern.split("/")[1:2]):
        return None
    return matched_files(tree, f"/{PurePosixPath(pattern).relative_to(mount.at)}")


def mount_of(pattern: str, guest: GuestPlan) -> MountPlan | None:
    """Return the mount in which a pattern begins."""
    return max(
        (mount for mount in guest.mounts if PurePosixPath(pattern).is_relative_to(mount.at)),
        key=lambda mount: len(PurePosixPath(mount.at).parts),
        default=None,
    )


def mounted_tree(segments: Sequence[str], trees: Mapping[str, Tree]) -> Tree | None:
    """Return what the image holds that lies over exactly these segments, or None where that is not known."""
    found = [trees.get(name) for name in segments]
    first = found[0] if found else None
    return first if all(tree is first for tree in found) else None

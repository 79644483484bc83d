"""The guests of a YAML file as consumers: the files that their steps map or read."""

import posixpath
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from dcss.config.load import load_plan
from dcss.config.names import mounted_segments
from dcss.config.plan import GuestPlan, SystemPlan
from dcss.config.sources import Ext2Source
from dcss.errors import ConfigError
from dcss.ext2.mkfs.tree import Tree, TreeFile
from dcss.plan.inputs.consumer import Consumer, UsedFile, files_of_tree
from dcss.plan.inputs.trees import links_of, tree_of_image
from dcss.progress import Progress
from dcss.system.matching import matches, mount_of, mounted_tree, trees_of
from dcss.system.planned import PlannedSegment
from dcss.system.preview import plan_system

_Paths = Mapping[TreeFile, Sequence[bytes]]


def guest_consumers(path: Path, notes: list[str], progress: Progress) -> tuple[list[Consumer], int]:
    """Return a consumer for each entry of `guests:`, and the largest storage of a guest.

    What is not known of a guest before it runs is added to `notes`. Raises ConfigError where the file is wrong, or has
    no guest.
    """
    plan = load_plan(path)
    if not plan.guests:
        raise ConfigError(f"{path}: found no guest, wanted one at least")
    trees = _all_trees(plan, plan_system(plan, progress))
    paths = {id(tree): {file.node: file.paths for file in files_of_tree(tree)} for tree in trees.values()}
    consumers = []
    for where, entry in groupby(plan.guests, key=lambda guest: guest.where):
        guests = list(entry)
        files, links = _Entry(guests[0], trees, paths, notes).read()
        name = guests[0].name if len(guests) == 1 else guests[0].name.rstrip("0123456789") or guests[0].name
        consumers.append(Consumer(name, "guest", f"{where} {name}", files, len(guests), links))
    return consumers, max(guest.storage_bytes for guest in plan.guests)


def _all_trees(plan: SystemPlan, planned: Mapping[str, PlannedSegment]) -> dict[str, Tree]:
    """Return what the segments hold, those of ready images too."""
    trees = trees_of(planned)
    for segment in plan.segments:
        if isinstance(segment.image, Ext2Source):
            trees[segment.name] = tree_of_image(segment.image.path, segment.image.offset)
        elif segment.continues in trees:
            trees[segment.name] = trees[segment.continues]
    return trees


class _Entry:
    """Collects what the guests of one entry use."""

    def __init__(
        self, guest: GuestPlan, trees: Mapping[str, Tree], paths: Mapping[int, _Paths], notes: list[str]
    ) -> None:
        self._guest, self._trees, self._paths, self._notes = guest, trees, paths, notes
        self._files: dict[TreeFile, UsedFile] = {}
        self._links: dict[bytes, bytes] = {}

    def read(self) -> tuple[list[UsedFile], dict[bytes, bytes]]:
        """Return the files that all steps use, and the links of the file systems that they lie in."""
        for step in self._guest.run:
            if isinstance(step.argument, str):
                self._add(step.argument)
            else:
                self._notes.append(
                    f"{self._guest.where}: {self._guest.name}: exec {step.argument[0]}: what a program uses is known"
                    " when it runs"
                )
        return list(self._files.values()), self._links

    def _add(self, pattern: str) -> None:
        found = matches(pattern, self._guest, self._trees)
        mount = mount_of(pattern, self._guest)
        tree = None
        if mount is not None:
            tree = mounted_tree(mounted_segments(self._guest.dcssblk, mount.device), self._trees)
        if found is None or mount is None or tree is None:
            self._notes.append(f"{self._guest.where}: {self._guest.name}: {pattern}: what it matches is not known")
            return
        at = mount.at.encode(errors="surrogateescape")
        for node in found.nodes:
            if node.data and node in self._paths[id(tree)]:
                self._files.setdefault(
                    node, UsedFile(node, [_joined(at, path) for path in self._paths[id(tree)][node]])
                )
        self._links |= {_joined(at, path): target for path, target in links_of(tree).items()}


def _joined(at: bytes, path: bytes) -> bytes:
    return posixpath.join(at, path.lstrip(b"/"))

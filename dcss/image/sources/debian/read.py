"""Put a tree together from Debian's packages, as dpkg would unpack them, without running anything of theirs."""

import os
from collections.abc import Sequence
from pathlib import Path

from dcss.config.sources import DebianSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeNode, TreeSymlink
from dcss.image.sources.debian.deb_file import DebFile
from dcss.image.sources.debian.new_files import NewFiles
from dcss.image.sources.debian.packages import fetch_packages
from dcss.image.sources.debian.setup import prepare_tree, set_up_tree
from dcss.image.sources.overlay import Overlay
from dcss.image.sources.tar_scan import TarMember
from dcss.image.sources.tree_paths import resolve


def read_debian(source: DebianSource) -> Tree:
    """Return the packages of `source`, with all that they depend on, as a tree. Raises ImageError."""
    packages = fetch_packages(source)
    tree = unpack(packages.files, source.arch, busybox_links=source.busybox_links)
    tree.notes[:0] = packages.notes
    return tree


def unpack(files: Sequence[Path], arch: str, *, busybox_links: bool) -> Tree:
    """Return the tree that these packages make, the same for the same packages. Raises ImageError."""
    unpacking = _Unpacking()
    prepare_tree(NewFiles(unpacking.overlay, 0), arch)
    for path in files:
        unpacking.add(DebFile(path))
    new = NewFiles(unpacking.overlay, unpacking.newest_s)
    unpacking.notes += set_up_tree(new, arch, busybox_links=busybox_links)
    return Tree(unpacking.overlay.root, notes=unpacking.notes)


class _Unpacking:
    """The tree so far, which package each node is of, and the newest time of any file."""

    def __init__(self) -> None:
        self.overlay = Overlay("packages")
        self.notes: list[str] = []
        self.newest_s = 0
        self._owners: dict[TreeNode, str] = {}
        self._replaced_by: dict[str, frozenset[str]] = {}

    def add(self, package: DebFile) -> None:
        """Unpack one package over those before it."""
        scanned = package.members()
        self._replaced_by[package.name] = package.replaces()
        self.notes += [f"{package.name}: {note}" for note in scanned.notes]
        for member in scanned.members:
            node = member.node or self._linked(member, package)
            if member.node is not None:
                self.newest_s = max(self.newest_s, node.attributes.mtime_s)
            if self._wanted(member.path, node, package):
                self.overlay.add(member.path, node)
                self._owners.setdefault(self.overlay.find(member.path) or node, package.name)

    def _linked(self, member: TarMember, package: DebFile) -> TreeNode:
        node = self.overlay.find(member.link_to)
        if node is None or isinstance(node, TreeDirectory):
            raise ImageError(
                f"{package.name}: {os.fsdecode(member.path)} is a hard link to {os.fsdecode(member.link_to)}, of which"
                " nothing was found before it"
            )
        return node

    def _wanted(self, path: bytes, node: TreeNode, package: DebFile) -> bool:
        """Return whether a member takes its place, or what is there stays, as dpkg decides."""
        present = self.overlay.find(path)
        if present is None:
            return True
        if isinstance(node, TreeDirectory):
            return self._directory_wanted(path, present)
        if isinstance(present, TreeDirectory):
            return not isinstance(node, TreeSymlink) and self._conflict(path, "another package as a directory", package)
        owner = self._owners.get(present)
        if owner is None or owner == package.name or owner in self._replaced_by[package.name]:
            return True
        return package.name not in self._replaced_by[owner] and self._conflict(path, owner, package)

    def _directory_wanted(self, path: bytes, present: TreeNode) -> bool:
        """Have a directory take its mode from the first package, and a link that leads to one stay a link."""
        if isinstance(present, TreeSymlink):
            found = resolve(self.overlay.root, path)
            return found is None or not isinstance(found.node, TreeDirectory)
        return present not in self._owners

    def _conflict(self, path: bytes, other: str, package: DebFile) -> bool:
        self.notes.append(
            f"/{os.fsdecode(path.removeprefix(b'./'))}: that of {package.name} was left out, which {other} has too"
        )
        return False

"""Add files, directories and links of our own to a tree, each at its path unless something is there."""

import os
import stat
from typing import NamedTuple

from dcss.ext2.mkfs.tree import NodeAttributes, TreeDirectory, TreeFile, TreeNode, TreeSymlink
from dcss.image.sources.archive import in_memory
from dcss.image.sources.contents import content_of
from dcss.image.sources.overlay import Overlay
from dcss.image.sources.tree_paths import resolve


class NewFiles(NamedTuple):
    """Where new nodes go, and the time that they get."""

    overlay: Overlay
    mtime_s: int

    def has(self, path: bytes) -> bool:
        """Return whether anything is at `path`, a dangling link too."""
        return self.overlay.find(path) is not None

    def directory(self, path: bytes, mode: int = 0o755) -> None:
        """Make a directory; one that is there keeps its mode."""
        self._add(path, TreeDirectory(self._attributes(stat.S_IFDIR | mode)))

    def link(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link."""
        self._add(path, TreeSymlink(self._attributes(stat.S_IFLNK | 0o777), target))

    def file(self, path: bytes, content: bytes, mode: int = 0o644) -> None:
        """Make a file with a content of our own."""
        archive = in_memory(os.fsdecode(path), content)
        data = (archive.run(0, 0, len(content)),) if content else ()
        self._add(path, TreeFile(self._attributes(stat.S_IFREG | mode), len(content), data, archive.store()))

    def copy(self, source: bytes, path: bytes) -> None:
        """Make a file with the content of another in the tree, if that is there."""
        found = resolve(self.overlay.root, source)
        if found is not None and isinstance(node := found.node, TreeFile):
            self.file(path, content_of(node))

    def _add(self, path: bytes, node: TreeNode) -> None:
        if not self.has(path):
            self.overlay.add(path, node)

    def _attributes(self, mode: int) -> NodeAttributes:
        return NodeAttributes(mode, 0, 0, self.mtime_s)

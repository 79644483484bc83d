"""Build a tree member by member and layer by layer, as container images are unpacked.

Source for whiteouts: the OCI image layer specification, "Applying changesets". They hide what lower layers have, never
what their own layer adds, wherever in the layer they are.
"""

import os
from collections.abc import Sequence
from typing import Final

from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeDirectory, TreeNode, TreeSymlink, default_directory

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
_AUFS: Final = b".wh..wh."
_MAX_LINKS: Final = 40


class Overlay:
    """The tree being built. Links in the path of a member are followed inside the tree, as unpacking does."""

    def __init__(self, name: str) -> None:
        self.root = default_directory()
        self._name = name
        self._touched: set[TreeNode] = set()  # in this layer
        self._whiteouts = False

    def begin_layer(self) -> None:
        """Start the next layer; whiteouts take effect in layers only."""
        self._touched = set()
        self._whiteouts = True

    def add(self, path: bytes, node: TreeNode) -> None:
        """Put `node` at `path`; a directory over a directory gives it new attributes and keeps its entries.

        Raises ImageError for a path that leads out of the tree or through what is no directory.
        """
        parts = self._parts(path)
        if not parts:
            if not isinstance(node, TreeDirectory):
                raise ImageError(f"{self._name}: member {os.fsdecode(path)!r} names the root, wanted a directory there")
            self._touch([self.root])
            self.root.attributes = node.attributes
            return
        if self.white_out(path):
            return
        chain = self._directory(parts[:-1], path)
        directory, name = chain[-1], parts[-1]
        found = directory.entries.get(name)
        if isinstance(node, TreeDirectory) and isinstance(found, TreeDirectory):
            found.attributes = node.attributes
            node = found
        else:
            directory.entries[name] = node
        self._touch([*chain, node])

    def white_out(self, path: bytes) -> bool:
        """Apply a member of a layer if its name makes it a whiteout, whatever its type, and return whether it does."""
        parts = self._parts(path)
        if not self._whiteouts or not parts or not parts[-1].startswith(WHITEOUT):
            return False
        chain = self._directory(parts[:-1], path, create=False)
        if chain:
            self._hide(chain[-1], parts[-1])
        return True

    def find(self, path: bytes) -> TreeNode | None:
        """Return the node at `path`, without following a link there, or None."""
        parts = self._parts(path)
        if not parts:
            return self.root
        chain = self._directory(parts[:-1], path, create=False)
        return chain[-1].entries.get(parts[-1]) if chain else None

    def _touch(self, nodes: Sequence[TreeNode]) -> None:
        if self._whiteouts:
            self._touched.update(nodes)

    def _parts(self, path: bytes) -> list[bytes]:
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise ImageError(f"{self._name}: member {os.fsdecode(path)}: wanted a path without ..")
        return parts

    def _directory(self, parts: Sequence[bytes], path: bytes, *, create: bool = True) -> list[TreeDirectory]:
        """Return the directories from the root to the one that `parts` name.

        Missing ones are made, or without `create` the list is empty where one is missing.
        """
        chain = [self.root]
        pending = list(reversed(parts))
        followed = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                chain = chain[:-1] or [self.root]
                continue
            if part in (b"", b"."):
                continue
            node = chain[-1].entries.get(part)
            if isinstance(node, TreeSymlink):
                followed += 1
                if followed > _MAX_LINKS:
                    raise ImageError(
                        f"{self._name}: member {os.fsdecode(path)} leads through more than {_MAX_LINKS} links"
                    )
                chain = [self.root] if node.target.startswith(b"/") else chain
                pending += reversed(node.target.split(b"/"))
                continue
            if not create and not isinstance(node, TreeDirectory):
                return []
            if node is None:
                node = chain[-1].entries[part] = default_directory()
            if not isinstance(node, TreeDirectory):
                raise ImageError(f"{self._name}: member {os.fsdecode(path)}: {os.fsdecode(part)} is no directory")
            chain.append(node)
        return chain

    def _hide(self, directory: TreeDirectory, name: bytes) -> None:
        if name == OPAQUE:
            self._hide_lower(directory)
        elif not name.startswith(_AUFS):
            hidden = name[len(WHITEOUT) :]
            node = directory.entries.get(hidden)
            if node is not None and node not in self._touched:
                del directory.entries[hidden]
            elif isinstance(node, TreeDirectory):
                self._hide_lower(node)

    def _hide_lower(self, directory: TreeDirectory) -> None:
        for name, node in list(directory.entries.items()):
            if node not in self._touched:
                del directory.entries[name]
            elif isinstance(node, TreeDirectory):
                self._hide_lower(node)

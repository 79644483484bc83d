"""Say which files of a planned image a pattern of a guest matches, without building the image."""

import os
import posixpath
from dataclasses import dataclass, field

from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeFile, TreeNode, TreeSymlink, walk
from dcss.image.sources.patterns import PathPattern

_MAX_LINKS = 40  # as the kernel's MAXSYMLINKS
_WILDCARDS = frozenset("*?[")


@dataclass(slots=True)
class MatchedFiles:
    """Regular files, each inode once, and their bytes."""

    nodes: dict[TreeFile, None] = field(default_factory=dict, repr=False)

    @property
    def files(self) -> int:
        """How many there are."""
        return len(self.nodes)

    @property
    def size_bytes(self) -> int:
        """How many bytes they have."""
        return sum(node.size_bytes for node in self.nodes)

    def add(self, file: TreeFile) -> None:
        """Count a file that was not counted before."""
        self.nodes.setdefault(file)


def matched_files(tree: Tree, pattern: str) -> MatchedFiles:
    """Return what `map:` or `read:` of `pattern` finds in a file system that holds `tree`.

    As in the guest, links before the first wildcard are followed, and later ones are not. Raises ImageError where the
    pattern is not an absolute path.
    """
    found = MatchedFiles()
    names = [name for name in pattern.split("/") if name]
    literal = next((number for number, name in enumerate(names) if _WILDCARDS & set(name)), len(names))
    node = _resolve(tree, [os.fsencode(name) for name in names[:literal]])
    if isinstance(node, TreeFile) and literal == len(names):
        found.add(node)
    elif isinstance(node, TreeDirectory) and literal < len(names):
        rest = PathPattern("/" + "/".join(names[literal:]))
        for below, directory in walk(node):
            for name, entry in directory.entries.items():
                if isinstance(entry, TreeFile) and rest.matches(os.fsdecode(posixpath.join(below, name))):
                    found.add(entry)
    return found


def _resolve(tree: Tree, names: list[bytes]) -> TreeNode | None:
    """Return the node that `names` lead to from the root, links followed, or None where nothing is there."""
    here: list[TreeNode] = [tree.root]
    pending, followed = names[::-1], 0
    while pending:
        name = pending.pop()
        node = here[-1]
        if name in (b"", b"."):
            continue
        if name == b"..":
            here = here[:-1] if len(here) > 1 else here
            continue
        inner = node.entries.get(name) if isinstance(node, TreeDirectory) else None
        if inner is None:
            return None
        if isinstance(inner, TreeSymlink):
            followed += 1
            if followed > _MAX_LINKS:
                return None
            here = here[:1] if inner.target.startswith(b"/") else here
            pending += inner.target.split(b"/")[::-1]
        else:
            here.append(inner)
    return here[-1]

"""Find nodes of a tree by path, as a program that has the tree as its root would."""

from typing import Final, NamedTuple

from dcss.ext2.mkfs.tree import TreeDirectory, TreeNode, TreeSymlink

_MAX_LINKS: Final = 40


class Resolved(NamedTuple):
    """A node and its path without links, which begins with a slash."""

    path: bytes
    node: TreeNode


def resolve(root: TreeDirectory, path: bytes) -> Resolved | None:
    """Return what lies at `path`, links followed, or None where nothing does or links go round in circles."""
    chain: list[tuple[bytes, TreeNode]] = []
    pending = path.split(b"/")[::-1]
    followed = 0
    while pending:
        part = pending.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            del chain[-1:]
            continue
        directory = chain[-1][1] if chain else root
        node = directory.entries.get(part) if isinstance(directory, TreeDirectory) else None
        if node is None:
            return None
        if isinstance(node, TreeSymlink):
            followed += 1
            if followed > _MAX_LINKS:
                return None
            if node.target.startswith(b"/"):
                chain.clear()
            pending += node.target.split(b"/")[::-1]
            continue
        chain.append((part, node))
    return Resolved(b"/" + b"/".join(name for name, _ in chain), chain[-1][1] if chain else root)


def directory_at(root: TreeDirectory, path: bytes) -> TreeDirectory | None:
    """Return the directory at `path`, links followed, or None where there is none."""
    found = resolve(root, path)
    return found.node if found is not None and isinstance(found.node, TreeDirectory) else None

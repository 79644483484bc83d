"""The tree of the files that were chosen, and the patterns by which a guest maps its own ones."""

import posixpath
from collections.abc import Collection, Iterable, Sequence

from dcss.ext2.mkfs.tree import (
    NodeAttributes,
    Tree,
    TreeDirectory,
    TreeFile,
    TreeNode,
    TreeSymlink,
    default_directory,
    walk,
)
from dcss.image.sources.patterns import literal_pattern
from dcss.image.sources.tree_paths import resolve
from dcss.plan.candidates import Candidate
from dcss.plan.inputs.consumer import Consumer

_LINK_MODE = 0o120777


def chosen_tree(chosen: Sequence[Candidate], consumers: Sequence[Consumer]) -> Tree:
    """Return a tree with the candidates at all their paths, and the consumers' links that lead to something in it."""
    root = default_directory()
    for candidate in chosen:
        for path in candidate.paths:
            _plant(root, path, candidate.node)
    links: dict[bytes, bytes] = {}
    for consumer in reversed(consumers):
        links |= consumer.links
    _add_links(root, links)
    return Tree(root)


def _plant(root: TreeDirectory, path: bytes, node: TreeNode) -> None:
    *parents, name = path.split(b"/")[1:]
    here = root
    for parent in parents:
        inner = here.entries.setdefault(parent, default_directory())
        assert isinstance(inner, TreeDirectory)
        here = inner
    here.entries[name] = node


def _add_links(root: TreeDirectory, links: dict[bytes, bytes]) -> None:
    """Add the links that lead to what is there, also through others of them."""
    pending = dict(links)
    while True:
        added = [path for path, target in sorted(pending.items()) if _add_link(root, path, target)]
        if not added:
            return
        for path in added:
            del pending[path]


def _add_link(root: TreeDirectory, path: bytes, target: bytes) -> bool:
    directory, name = posixpath.split(path)
    parent = resolve(root, directory)
    if resolve(root, path) is not None or resolve(root, posixpath.join(directory, target)) is None:
        return False
    if parent is not None and not isinstance(parent.node, TreeDirectory):
        return False
    _plant(root, path if parent is None else posixpath.join(parent.path, name), TreeSymlink(_link_attributes(), target))
    return True


def _link_attributes() -> NodeAttributes:
    return NodeAttributes(_LINK_MODE, 0, 0, 0)


def map_patterns(tree: Tree, wanted: Collection[TreeFile]) -> list[str]:
    """Return patterns of `map:` that match each wanted file of a tree and no other.

    A directory of which all files are wanted is one pattern; others are entered. A file is named by its first path.
    """
    whole = {directory: _all_wanted(directory, wanted) for _, directory in walk(tree.root)}
    patterns: list[str] = []
    named: set[TreeFile] = set()
    pending: list[tuple[bytes, TreeDirectory]] = [(b"", tree.root)]
    while pending:
        prefix, directory = pending.pop()
        inner = []
        for name, node in sorted(directory.entries.items(), key=lambda item: item[0]):
            path = prefix + b"/" + name
            if isinstance(node, TreeFile) and node in wanted and node not in named:
                named.add(node)
                patterns.append(literal_pattern(path))
            elif isinstance(node, TreeDirectory):
                if whole[node]:
                    named.update(_files(node))
                    patterns.append(literal_pattern(path) + "/**")
                else:
                    inner.append((path, node))
        pending += reversed(inner)
    return patterns


def _files(directory: TreeDirectory) -> Iterable[TreeFile]:
    for _, inner in walk(directory):
        yield from (node for node in inner.entries.values() if isinstance(node, TreeFile))


def _all_wanted(directory: TreeDirectory, wanted: Collection[TreeFile]) -> bool:
    """Return True if a directory holds files, and wanted ones only."""
    files = list(_files(directory))
    return bool(files) and all(node in wanted for node in files)

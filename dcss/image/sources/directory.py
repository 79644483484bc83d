"""`directory:`: a directory of the host, whose content becomes the image's root."""

import os
import stat

from dcss.config.sources import DirectorySource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import Tree, TreeDirectory, TreeNode
from dcss.image.sources.host import host_error, lstat, read_node


def read_directory(source: DirectorySource) -> Tree:
    """Return everything below `source.path`: nothing is left out, hard links stay one node.

    Raises ImageError where something cannot be read.
    """
    top = os.path.realpath(os.fsencode(source.path))
    try:
        found = os.stat(top)  # noqa: PTH116 - a Path holds no bytes
    except OSError as error:
        raise host_error(top, "cannot be made into an image", error) from error
    if not stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{source.path}: found a file, wanted a directory (a tar is given as `tar:`)")
    root = read_node(top, found)
    assert isinstance(root, TreeDirectory)
    linked: dict[tuple[int, int], TreeNode] = {}
    pending = [(top, root)]
    while pending:
        path, directory = pending.pop()
        for entry in _entries(path):
            directory.entries[entry.name] = node = _read_entry(entry, linked)
            if isinstance(node, TreeDirectory):
                pending.append((entry.path, node))
    return Tree(root)


def _entries(path: bytes) -> list["os.DirEntry[bytes]"]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise host_error(path, "cannot be listed", error) from error


def _read_entry(entry: "os.DirEntry[bytes]", linked: dict[tuple[int, int], TreeNode]) -> TreeNode:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        found = lstat(entry.path)  # for its message
    if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode):
        return read_node(entry.path, found)
    key = (found.st_dev, found.st_ino)
    node = linked.get(key)
    if node is None:
        node = linked[key] = read_node(entry.path, found)
    return node

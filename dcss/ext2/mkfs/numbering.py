"""Number the inodes of an image: the root, lost+found, the other directories, then all other files by path.

Directories and files of one directory lie together, so that following a path reads few pages of the inode table.
"""

import os
from collections import Counter
from dataclasses import dataclass
from stat import S_IFDIR
from typing import Final

from dcss.abi.ext2 import GOOD_OLD_FIRST_INO, LINK_MAX, NAME_LEN, ROOT_INO, XATTR_REFCOUNT_MAX
from dcss.errors import ImageError
from dcss.ext2.mkfs import xattrs
from dcss.ext2.mkfs.tree import LOST_AND_FOUND, NodeAttributes, Tree, TreeDirectory, TreeNode, walk
from dcss.ext2.xattr_block import Xattr

LOST_AND_FOUND_INO: Final = GOOD_OLD_FIRST_INO
_MIN_TIME_S: Final = -(1 << 31)  # fs/ext2/inode.c reads times as signed 32 bits
_MAX_TIME_S: Final = (1 << 31) - 1


@dataclass(slots=True)
class InodePlan:
    """A node with its number.

    `xattr_block` counts in `Inventory.xattr_blocks`, None for none; `parent` is a directory's.
    """

    number: int
    path: bytes
    node: TreeNode
    links: int
    xattr_block: int | None = None
    parent: int = 0


@dataclass(slots=True)
class Numbering:
    """All inodes in order of number (which jumps from 2 to 11), and the blocks of extended attributes they share."""

    inodes: list[InodePlan]
    numbers: dict[TreeNode, int]
    xattr_blocks: list[bytes]
    directories: int

    @property
    def last_number(self) -> int:
        """The highest inode number in use."""
        return self.inodes[-1].number


def number_inodes(tree: Tree) -> Numbering:
    """Number every node of `tree`, which gets a lost+found where it has none, and its entries in order of name.

    What ext2 cannot keep and can do without is listed in `tree.notes`. Raises ImageError for a name that is too long,
    too many links, and more extended attributes than a block holds.
    """
    _ensure_lost_and_found(tree.root)
    found = list(walk(tree.root))
    directories, others, links = _ordered(found)
    inodes: list[InodePlan] = []
    numbers: dict[TreeNode, int] = {}
    for path, node in directories + others:
        number = ROOT_INO if not inodes else max(LOST_AND_FOUND_INO, inodes[-1].number + 1)
        numbers[node] = number
        inodes.append(InodePlan(number, path, node, links[node]))
        if links[node] > LINK_MAX:
            raise ImageError(f"{os.fsdecode(path)} has {links[node]} links, ext2 counts at most {LINK_MAX}")
    for _, directory in found:
        for node in directory.entries.values():
            if isinstance(node, TreeDirectory):
                inodes[_index(numbers[node])].parent = numbers[directory]
    inodes[0].parent = ROOT_INO
    numbering = Numbering(inodes, numbers, _share_xattrs(inodes, tree.notes), len(directories))
    _note_times(inodes, tree.notes)
    return numbering


def clamp_time(mtime_s: int) -> int:
    """Return the nearest time that ext2 can keep."""
    return min(max(mtime_s, _MIN_TIME_S), _MAX_TIME_S)


def _index(number: int) -> int:
    return 0 if number == ROOT_INO else number - LOST_AND_FOUND_INO + 1


def _ensure_lost_and_found(root: TreeDirectory) -> None:
    node = root.entries.setdefault(LOST_AND_FOUND, TreeDirectory(NodeAttributes(S_IFDIR | 0o700, 0, 0, 0)))
    if not isinstance(node, TreeDirectory):
        raise ImageError("/lost+found is no directory: e2fsck needs one of that name; rename what is there")


def _ordered(
    found: list[tuple[bytes, TreeDirectory]],
) -> tuple[list[tuple[bytes, TreeNode]], list[tuple[bytes, TreeNode]], Counter[TreeNode]]:
    """Return directories and other nodes, each once with its first path, in order, and how often each is linked."""
    directories: list[tuple[bytes, TreeNode]] = []
    others: list[tuple[bytes, TreeNode]] = []
    links: Counter[TreeNode] = Counter()
    for path, directory in found:
        directories.append((path, directory))
        links[directory] += 2
        prefix = path if path == b"/" else path + b"/"
        directory.entries = dict(sorted(directory.entries.items()))  # keys differ, so nodes are never compared
        for name, node in directory.entries.items():
            if len(name) > NAME_LEN or not name or b"/" in name or b"\0" in name:
                raise ImageError(f"name {name!r} in {os.fsdecode(path)}: wanted 1 to {NAME_LEN} bytes, no / and no NUL")
            if isinstance(node, TreeDirectory):
                links[directory] += 1
            else:
                if not links[node]:
                    others.append((prefix + name, node))
                links[node] += 1
    directories.sort(key=lambda item: (item[0] != b"/", item[0] != b"/" + LOST_AND_FOUND))
    return directories, others, links


def _share_xattrs(inodes: list[InodePlan], notes: list[str]) -> list[bytes]:
    """Give every inode with extended attributes a block, one for all that have the same; return the blocks."""
    sharing: dict[tuple[Xattr, ...], list[InodePlan]] = {}
    for inode in inodes:
        if not inode.node.attributes.xattrs:
            continue
        try:
            kept, unknown = xattrs.to_disk(inode.node.attributes.xattrs)
        except ValueError as error:
            raise ImageError(f"{os.fsdecode(inode.path)}: found {error}") from error
        notes += [f"{os.fsdecode(inode.path)}: ext2 has no place for attribute {os.fsdecode(name)}" for name in unknown]
        if kept:
            sharing.setdefault(kept, []).append(inode)
    blocks: list[bytes] = []
    for kept, sharers in sharing.items():
        for start in range(0, len(sharers), XATTR_REFCOUNT_MAX):
            part = sharers[start : start + XATTR_REFCOUNT_MAX]
            for inode in part:
                inode.xattr_block = len(blocks)
            blocks.append(xattrs.block_for(part[0].path, kept, len(part)))
    return blocks


def _note_times(inodes: list[InodePlan], notes: list[str]) -> None:
    far = [inode for inode in inodes if not _MIN_TIME_S <= inode.node.attributes.mtime_s <= _MAX_TIME_S]
    if far:
        notes.append(
            f"{len(far)} times lie outside of ext2's 1901 to 2038 and were moved to its edge, "
            f"first {os.fsdecode(far[0].path)}"
        )

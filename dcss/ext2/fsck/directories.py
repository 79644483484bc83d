"""Directories: each entry's inode and type, . and .., what is connected, and how many links each inode has."""

from collections.abc import Callable
from stat import S_IFDIR, S_IFMT

from dcss.abi.ext2 import (
    DIR_ENTRY_HEAD,
    ORPHAN_FILE_INUM_OFFSET,
    QUOTA_INUM_OFFSETS,
    ROOT_INO,
    SUPERBLOCK_OFFSET,
    Compat,
    DirEntryHead,
    DirFileType,
    RoCompat,
)
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.dir_block import MIN_REC_LEN, file_type
from dcss.ext2.fsck.context import CheckContext
from dcss.ext2.inode import Inode
from dcss.ext2.super import SbInfo


def check_directories(context: CheckContext) -> None:
    """Read every directory in use, then check parents, reachability and link counts."""
    tree = _DirectoryTree(context)
    for number, mode in sorted(context.modes.items()):
        if S_IFMT(mode) == S_IFDIR:
            try:
                tree.read(number)
            except (Ext2FormatError, KernelError) as error:
                context.add("directory", f"directory inode {number}", str(error))
    tree.check_parents()
    _check_links(context, tree.connected())


class _DirectoryTree:
    """Which directory contains which."""

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._children: dict[int, list[int]] = {}  # directories in a directory
        self._parents: dict[int, list[int]] = {}
        self._dotdot: dict[int, int] = {}
        self._blocks: set[int] = set()  # each is read once, however many directories name it

    def read(self, number: int) -> None:
        """Read one directory."""
        context, where = self._context, f"directory inode {number}"
        inode = context.volume.inode_slot(number)
        for run in context.volume.runs(inode):
            blocks = range(run.disk_block, run.disk_block + run.blocks)
            if not self._blocks.isdisjoint(blocks):
                context.add("directory", where, f"found a block in {run} that another directory has, wanted its own")
                return
            self._blocks.update(blocks)
            self._check_checksums(inode, blocks if run.disk_block else range(0))
        self._check_ends(number, inode.block_pointers[0])
        children = self._children[number] = []
        names: set[bytes] = set()
        for position, entry in enumerate(context.volume.entries(inode)):
            name, target = entry.name, entry.inode
            if position < 2:
                self._dot(number, position, name, target)
            elif name in (b".", b".."):
                context.add("directory", where, f"entry {position}: found a second {name.decode()}, wanted none")
            if name in names:
                context.add("directory", where, f"entry {position}: found the name {name!r} twice, wanted it once")
            names.add(name)
            mode = context.modes.get(target)
            if mode is None or (target < context.info.first_ino and target != ROOT_INO):
                context.add("directory", where, f"entry {name!r}: found inode {target}, wanted one that is in use")
                continue
            self._check_type(where, name, entry.file_type, mode)
            context.references[target] += 1
            if S_IFMT(mode) == S_IFDIR and position >= 2:
                children.append(target)
                self._parents.setdefault(target, []).append(number)
        if len(names) < 2:
            context.add("directory", where, f"found {len(names)} entries, wanted . and .. at least")

    def _check_checksums(self, inode: Inode, blocks: range) -> None:
        context, size_bytes = self._context, self._context.info.block_size_bytes
        if not context.checksums.all_metadata:
            return
        for block in blocks:
            view = context.info.source.bytes_at(block * size_bytes, size_bytes)
            if not context.checksums.directory_holds(inode.number, inode.generation, view):
                where = f"directory inode {inode.number}"
                context.add("directory", where, f"the checksum of block {block}: found another one than the block's")

    def _check_ends(self, number: int, block: int) -> None:
        """Look for the NUL that follows the names . and .. where both entries are as long as they need to be."""
        view = self._context.info.source.bytes_at(block * self._context.info.block_size_bytes, 2 * MIN_REC_LEN)
        for name, at in ((b".", 0), (b"..", MIN_REC_LEN)):
            head = DirEntryHead._make(DIR_ENTRY_HEAD.unpack_from(view, at))
            end = at + DIR_ENTRY_HEAD.size + len(name)
            if head.name_len == len(name) and view[end - len(name) : end] == name and view[end]:
                where = f"directory inode {number}"
                self._context.add(
                    "directory", where, f"entry {name.decode()!r}: found {view[end]} after it, wanted a NUL"
                )
            if head.rec_len != MIN_REC_LEN:
                return

    def _check_type(self, where: str, name: bytes, found: int, mode: int) -> None:
        wanted = file_type(mode)
        if self._context.info.has_filetype and found not in (wanted, DirFileType.UNKNOWN):
            self._context.add("directory", where, f"entry {name!r}: found file type {found}, wanted {wanted:d}")

    def _dot(self, number: int, position: int, name: bytes, target: int) -> None:
        wanted = (b".", b"..")[position]
        where = f"directory inode {number}"
        if name != wanted:
            self._context.add("directory", where, f"entry {position}: found {name!r}, wanted {wanted!r}")
        elif position == 0 and target != number:
            self._context.add("directory", where, f"entry '.': found inode {target}, wanted {number}")
        elif position == 1:
            self._dotdot[number] = target

    def check_parents(self) -> None:
        """Compare every .. with the directory that holds it."""
        for number in self._children:
            parents = [ROOT_INO] if number == ROOT_INO else self._parents.get(number, [])
            where = f"directory inode {number}"
            if number == ROOT_INO and number in self._parents:
                self._context.add("directory", where, f"found the root in {self._parents[number]}, wanted it nowhere")
            if len(parents) > 1:
                self._context.add("directory", where, f"found it in directories {parents}, wanted one")
            elif parents and self._dotdot.get(number, parents[0]) != parents[0]:
                self._context.add(
                    "directory", where, f"entry '..': found inode {self._dotdot[number]}, wanted {parents[0]}"
                )

    def connected(self) -> Callable[[int], bool]:
        """Return a function that tests whether a directory can be reached from the root."""
        reached: set[int] = set()
        pending = [ROOT_INO]
        while pending:
            number = pending.pop()
            if number not in reached:
                reached.add(number)
                pending += self._children.get(number, [])
        return reached.__contains__


def _check_links(context: CheckContext, reached: Callable[[int], bool]) -> None:
    hidden = _hidden_inodes(context.info)
    many_links = bool(context.info.superblock.s_feature_ro_compat & RoCompat.DIR_NLINK)
    for number, links in sorted(context.links.items()):
        if (number < context.info.first_ino and number != ROOT_INO) or number in hidden:
            continue
        where = f"inode {number}"
        is_directory = S_IFMT(context.modes[number]) == S_IFDIR
        if not context.references[number] or (is_directory and not reached(number)):
            context.add("links", where, f"found {links} links but no way from the root, wanted one")
        elif is_directory and links == 1 and many_links:
            continue  # there were too many to count
        elif context.references[number] != links:
            context.add("links", where, f"i_links_count: found {links}, wanted {context.references[number]}")


def _hidden_inodes(info: SbInfo) -> set[int]:
    """Return the inodes that ext4 features keep in no directory."""
    superblock = info.superblock
    offsets: list[int] = []
    if superblock.s_feature_ro_compat & RoCompat.QUOTA:
        offsets += QUOTA_INUM_OFFSETS
    if superblock.s_feature_compat & Compat.ORPHAN_FILE:
        offsets.append(ORPHAN_FILE_INUM_OFFSET)
    return {int.from_bytes(info.source.bytes_at(SUPERBLOCK_OFFSET + offset, 4), "little") for offset in offsets}

"""Set and remove extended attributes (ext2_xattr_set): one block for all that an inode has, shared where it is equal.

A block counts the inodes that it belongs to. One that others share is never changed: the inode gets another block.
"""

from errno import E2BIG, EEXIST, ENODATA, EOPNOTSUPP, ERANGE
from time import time

from dcss.abi.ext2 import SECTOR_SIZE, XATTR_HEADER, XATTR_REFCOUNT_MAX, Compat, XattrHeader
from dcss.errors import KernelError
from dcss.ext2.acl import acl_to_disk
from dcss.ext2.groups import group_first_block
from dcss.ext2.inode import Inode
from dcss.ext2.oldest import drop_oldest
from dcss.ext2.tables import VolumeTables
from dcss.ext2.write.balloc import BlockAllocator
from dcss.ext2.xattr import raw_xattrs
from dcss.ext2.xattr_block import ACL_INDEXES, Xattr, order, pack_block, split_name

XATTR_CREATE, XATTR_REPLACE = 1, 2  # flags of setxattr(2)
XATTR_SIZE_MAX_BYTES = 65536
_BLOCKS_KNOWN = 256


class AttributeWriter:
    """Changes to the extended attributes of one volume. `_known` has blocks that were met, by the hash they carry."""

    __slots__ = ("_allocator", "_known", "_tables")

    def __init__(self, tables: VolumeTables, allocator: BlockAllocator) -> None:
        self._tables = tables
        self._allocator = allocator
        self._known: dict[int, int] = {}

    def set(self, inode: Inode, name: bytes, value: bytes | None, flags: int = 0) -> None:
        """Set an attribute, or remove it where `value` is None.

        Raises KernelError: EOPNOTSUPP for a name that ext2 has no place for, EEXIST with XATTR_CREATE, ENODATA with
        XATTR_REPLACE or for a removal of what is not there, ERANGE for a name over 255 bytes, E2BIG and ENOSPC for a
        value that does not fit into a block.
        """
        place = split_name(name)
        if place is None:
            raise KernelError(EOPNOTSUPP, f"attribute {name!r}: no prefix that ext2 knows")
        index, rest = place
        if len(rest) > 255:
            raise KernelError(ERANGE, f"attribute name of {len(rest)} bytes, wanted at most 255")
        if value is not None and len(value) > XATTR_SIZE_MAX_BYTES:
            raise KernelError(E2BIG, f"attribute of {len(value)} bytes, wanted at most {XATTR_SIZE_MAX_BYTES}")
        old = raw_xattrs(self._tables.info, inode)
        there = any((each.name_index, each.name) == place for each in old)
        if there and value is not None and flags & XATTR_CREATE:
            raise KernelError(EEXIST, f"attribute {name!r}: is there")
        if not there and (value is None or flags & XATTR_REPLACE):
            raise KernelError(ENODATA, f"attribute {name!r}: is not there")
        kept = [each for each in old if (each.name_index, each.name) != place]
        if value is not None:
            kept.append(Xattr(index, rest, acl_to_disk(value) if index in ACL_INDEXES else value))
        self._store(inode, sorted(kept, key=order))

    def drop(self, inode: Inode) -> None:
        """Give up an inode's block, as its end does (ext2_xattr_delete_inode)."""
        if inode.file_acl:
            self._replace(inode, 0)

    def _store(self, inode: Inode, xattrs: list[Xattr]) -> None:
        info = self._tables.info
        if not xattrs:
            self.drop(inode)
        else:
            content = pack_block(xattrs, 1, info.block_size_bytes)
            shared = self._equal_block(content)
            if shared is not None and shared == inode.file_acl:
                pass  # nothing has changed
            elif shared is not None:
                self._count(shared, 1)
                self._replace(inode, shared)
            elif inode.file_acl and self._header(inode.file_acl).h_refcount == 1:
                self._write(inode.file_acl, content)
            else:
                self._replace(inode, self._new_block(inode, content))
        inode.ctime = int(time())
        self._tables.inodes.mark_dirty(inode)
        superblock = info.superblock
        if xattrs and not superblock.s_feature_compat & Compat.EXT_ATTR:
            info.superblock = superblock._replace(s_feature_compat=superblock.s_feature_compat | Compat.EXT_ATTR)
            info.superblock_dirty = True

    def _new_block(self, inode: Inode, content: bytes) -> int:
        info = self._tables.info
        goal = group_first_block(info, (inode.number - 1) // info.superblock.s_inodes_per_group)
        block, _ = self._allocator.allocate(goal, 1)
        self._write(block, content)
        return block

    def _replace(self, inode: Inode, block: int) -> None:
        """Have an inode use another block, 0 for none, and give up its old one."""
        info, old = self._tables.info, inode.file_acl
        inode.file_acl = block
        inode.blocks_512 += (bool(block) - bool(old)) * (info.block_size_bytes // SECTOR_SIZE)
        self._tables.inodes.mark_dirty(inode)
        if old:
            if self._header(old).h_refcount > 1:
                self._count(old, -1)
            else:
                self._forget(old)
                self._allocator.free([(old, 1)])

    def _equal_block(self, content: bytes) -> int | None:
        """Return a block with the same attributes that one more inode may use, or None."""
        header = XattrHeader._make(XATTR_HEADER.unpack_from(content))
        block = self._known.get(header.h_hash) if header.h_hash else None
        if block is None:
            return None
        info = self._tables.info
        found = self._header(block)
        view = info.source.bytes_at(block * info.block_size_bytes, info.block_size_bytes)
        if found.h_refcount >= XATTR_REFCOUNT_MAX or view[XATTR_HEADER.size :] != content[XATTR_HEADER.size :]:
            return None
        return block

    def _write(self, block: int, content: bytes) -> None:
        info = self._tables.info
        self._forget(block)
        info.writer().write(block * info.block_size_bytes, content)
        if len(self._known) >= _BLOCKS_KNOWN:
            drop_oldest(self._known)
        self._known[XattrHeader._make(XATTR_HEADER.unpack_from(content)).h_hash] = block

    def _forget(self, block: int) -> None:
        self._known = {key: known for key, known in self._known.items() if known != block}

    def _count(self, block: int, more: int) -> None:
        header = self._header(block)
        raw = XATTR_HEADER.pack(*header._replace(h_refcount=header.h_refcount + more))
        self._tables.info.writer().write(block * self._tables.info.block_size_bytes, raw)

    def _header(self, block: int) -> XattrHeader:
        info = self._tables.info
        info.check_block(block, "extended attributes", "i_file_acl")
        return XattrHeader._make(
            XATTR_HEADER.unpack(info.source.bytes_at(block * info.block_size_bytes, XATTR_HEADER.size))
        )

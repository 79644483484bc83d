"""Check each inode: type, size, block map, attributes. An inode is in use if it has links, whatever the bitmap says."""

from collections.abc import Iterator
from stat import S_IFMT, S_IFREG
from typing import Final

from dcss.abi.ext2 import (
    BAD_INO,
    BG_INODE_UNINIT,
    BLOCK_POINTERS,
    DIND_BLOCK,
    RAW_INODE,
    RESIZE_INO,
    ROOT_INO,
    SECTOR_SIZE,
    Compat,
    InodeFlag,
    RawInode,
)
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.fsck.attributes import check_attribute_blocks
from dcss.ext2.fsck.checksums import checksums_of
from dcss.ext2.fsck.context import BlockUse, CheckContext
from dcss.ext2.inode import FILE_TYPES, Inode
from dcss.ext2.inode import decode as decode_inode

_DTIME_AT: Final = 20  # i_dtime and i_links_count in struct ext2_inode
_LINKS_AT: Final = 26
_FLAGS_OF_FEATURES: Final = (  # as int: & of an IntFlag takes longer than the rest of the check of an inode
    ("imagic", int(InodeFlag.IMAGIC), int(Compat.IMAGIC_INODES)),
    ("index", int(InodeFlag.INDEX), int(Compat.DIR_INDEX)),
)


def check_inodes(context: CheckContext) -> None:
    """Check every inode in use."""
    for number, view in _in_use(context):
        inode = decode_inode(context.info, number, view)
        context.modes[number] = inode.mode
        context.links[number] = inode.links_count
        try:
            _check_inode(context, inode, RawInode._make(RAW_INODE.unpack(view)))
        except (Ext2FormatError, KernelError) as error:
            context.add("inode", f"inode {number}", str(error))
    if ROOT_INO not in context.modes:
        context.add("inode", f"inode {ROOT_INO}", "found no root directory, wanted one")
    check_attribute_blocks(context)


def _in_use(context: CheckContext) -> Iterator[tuple[int, memoryview]]:
    """Yield number and 128 bytes of every inode with links, and of the one that keeps the bad blocks."""
    info, per_group = context.info, context.info.superblock.s_inodes_per_group
    for group in context.groups:
        if group in context.bad_groups:
            continue
        count = _written_inodes(context, group)
        start = context.volume.group(group).bg_inode_table * info.block_size_bytes
        table = info.source.bytes_at(start, count * info.inode_size_bytes)
        used, undated = _linked_and_undated(table, info.inode_size_bytes)
        for index in undated:
            context.add(
                "inode", f"inode {group * per_group + index + 1}", "i_dtime: found 0, wanted when it was deleted"
            )
        if group == 0 and count:
            used.add(BAD_INO - 1)
        for index in sorted(used):
            number, at = group * per_group + index + 1, index * info.inode_size_bytes
            if not context.checksums.inode_holds(number, table[at : at + info.inode_size_bytes]):
                context.add("inode", f"inode {number}", "its checksum: found another one than the inode's")
            yield number, table[at : at + RAW_INODE.size]


def _written_inodes(context: CheckContext, group: int) -> int:
    """Return how many inodes of a group's table were ever written."""
    count = context.info.superblock.s_inodes_per_group
    flags = context.unwritten.get(group)
    if flags is None:  # no such flags, or not to be trusted
        return count
    unused = checksums_of(context.volume.group(group)).bg_itable_unused_lo
    return 0 if flags & BG_INODE_UNINIT else max(0, count - unused)


def _linked_and_undated(table: memoryview, inode_size_bytes: int) -> tuple[set[int], list[int]]:
    """Return the slots of a table with links, and those without links that have a mode but no time of deletion."""
    halves, words = table.cast("H"), table.cast("I")  # compared with 0 only: the host's byte order does not matter
    links = halves[_LINKS_AT // 2 :: inode_size_bytes // 2].tolist()
    modes = halves[:: inode_size_bytes // 2].tolist()
    dtimes = words[_DTIME_AT // 4 :: inode_size_bytes // 4].tolist()
    linked = {index for index, count in enumerate(links) if count}
    undated = [index for index, mode in enumerate(modes) if mode and not links[index] and not dtimes[index]]
    return linked, undated


def _check_inode(context: CheckContext, inode: Inode, raw: RawInode) -> None:
    number, where = inode.number, f"inode {inode.number}"
    if number == BAD_INO:
        _check_bad_blocks_inode(context, inode, raw)
        return
    if number == RESIZE_INO:
        # Its map lists the blocks kept for descriptors, which belong to their groups; the map's root is its own.
        if inode.block_pointers[DIND_BLOCK]:
            context.uses.append(BlockUse(inode.block_pointers[DIND_BLOCK], 1, where))
        return
    if number < context.info.first_ino and number != ROOT_INO and not inode.mode:
        return
    if S_IFMT(inode.mode) not in FILE_TYPES or (number == ROOT_INO and not inode.is_dir):
        wanted = "a directory: this is the root" if number == ROOT_INO else "the type of a file"
        context.add("inode", where, f"i_mode: found {inode.mode:#o}, wanted {wanted}")
        return
    _check_fields(context, inode, raw)
    _check_attributes(context, inode)
    if inode.has_block_map:
        _check_blocks(context, inode)
    elif not inode.is_symlink and inode.size_bytes:
        context.add("inode", where, f"i_size: found {inode.size_bytes} of a device, FIFO or socket, wanted 0")
    if inode.is_symlink:
        _check_symlink(context, inode)


def _check_bad_blocks_inode(context: CheckContext, inode: Inode, raw: RawInode) -> None:
    """Check the inode of bad blocks, which has blocks and nothing else."""
    found = {"i_mode": inode.mode, "i_uid": raw.i_uid, "i_gid": raw.i_gid, "i_links_count": inode.links_count}
    for name, value in {**found, "i_file_acl": inode.file_acl}.items():
        if value:
            context.add("inode", f"inode {BAD_INO}", f"{name}: found {value}, wanted 0: it keeps the bad blocks")
    inode.mode = S_IFREG  # this object is the checker's own
    _check_blocks(context, inode)


def _check_fields(context: CheckContext, inode: Inode, raw: RawInode) -> None:
    where = f"inode {inode.number}"
    if inode.dtime:
        context.add("inode", where, f"i_dtime: found {inode.dtime}, wanted 0: it has links")
    for name, flag, feature in _FLAGS_OF_FEATURES:
        if inode.flags & flag and not context.info.superblock.s_feature_compat & feature:
            context.add(
                "inode", where, f"i_flags: found the {name} flag, wanted none: the superblock has no such feature"
            )
    wanted_zero = {"i_faddr": raw.i_faddr, "i_frag": raw.i_frag, "i_fsize": raw.i_fsize}
    if not inode.is_regular:
        wanted_zero["i_dir_acl"] = raw.i_dir_acl
    for name, found in wanted_zero.items():
        if found:
            context.add("inode", where, f"{name}: found {found}, wanted 0")


def _check_blocks(context: CheckContext, inode: Inode) -> None:
    """Record the blocks an inode maps, also past its size, and compare them with i_blocks and i_size."""
    where, block_size = f"inode {inode.number}", context.info.block_size_bytes
    indirect = 0
    for block in context.volume.indirect_blocks(inode):
        context.uses.append(BlockUse(block, 1, f"{where}'s indirect block"))
        if block in context.indirect_blocks:
            return  # reported as used twice; what it maps is recorded already
        context.indirect_blocks.add(block)
        indirect += 1
    data_blocks = end_block = 0
    for run in context.volume.runs(inode, 0, context.volume.max_file_blocks):
        if run.disk_block:
            context.uses.append(BlockUse(run.disk_block, run.blocks, where))
            data_blocks += run.blocks
            end_block = run.file_block + run.blocks
    if inode.number == BAD_INO:
        return  # its counts mean nothing
    blocks = data_blocks + indirect + bool(inode.file_acl)
    wanted = blocks * block_size // SECTOR_SIZE
    if inode.blocks_512 != wanted:
        context.add("inode", where, f"i_blocks: found {inode.blocks_512}, wanted {wanted} for {blocks} blocks")
    if inode.is_dir and inode.size_bytes != end_block * block_size:
        context.add("inode", where, f"i_size: found {inode.size_bytes}, wanted {end_block * block_size}: its blocks")
    elif end_block and inode.size_bytes < (end_block - 1) * block_size:
        context.add(
            "inode", where, f"i_size: found {inode.size_bytes}, wanted over {(end_block - 1) * block_size}: its blocks"
        )


def _check_symlink(context: CheckContext, inode: Inode) -> None:
    where = f"inode {inode.number}"
    target = context.volume.readlink(inode)
    if len(target) != inode.size_bytes:
        context.add("inode", where, f"i_size: found {inode.size_bytes}, wanted {len(target)}: the link's target")
    if inode.is_fast_symlink:
        held: bytes | memoryview = BLOCK_POINTERS.pack(*inode.block_pointers)
    else:
        block_size = context.info.block_size_bytes
        held = context.info.source.bytes_at(inode.block_pointers[0] * block_size, block_size)
    if any(held[inode.size_bytes : inode.size_bytes + 1]):
        context.add("inode", where, f"found {held[inode.size_bytes]} after the link's target, wanted a NUL")


def _check_attributes(context: CheckContext, inode: Inode) -> None:
    if inode.file_acl:
        context.xattr_blocks[inode.file_acl] += 1
        context.volume.xattrs(inode)

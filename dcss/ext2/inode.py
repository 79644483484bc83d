"""Inodes: where they lie, decoded and encoded (ext2_iget and ext2_write_inode of fs/ext2/inode.c).

Inodes larger than 128 bytes hold more, such as extended attributes and nanoseconds. That is ext4's; ext2 ignores it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK
from time import time
from typing import NamedTuple, Protocol

from dcss.abi.ext2 import BLOCK_POINTERS, N_BLOCKS, RAW_INODE, ROOT_INO, SECTOR_SIZE, GroupDesc, RawInode
from dcss.ext2.super import SbInfo

FILE_TYPES = frozenset({S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK})
FAST_SYMLINK_MAX_BYTES = N_BLOCKS * 4 - 1


@dataclass(slots=True, eq=False, weakref_slot=True)
class Inode:
    """An inode in memory (struct inode). Times are seconds since 1970, signed; owners have 32 bits.

    `Volume.inode` returns the same object for a number as long as a reference to it exists, so every holder sees a
    change. Call `Volume.mark_inode_dirty` after changing one.
    """

    number: int
    mode: int
    uid: int
    gid: int
    size_bytes: int
    atime: int
    ctime: int
    mtime: int
    dtime: int
    links_count: int
    blocks_512: int  # sectors of 512 bytes, including indirect blocks and the block of attributes
    flags: int
    generation: int
    file_acl: int  # block of extended attributes, or 0
    block_pointers: tuple[int, ...]  # 15
    is_fast_symlink: bool  # block_pointers are the target's bytes
    dirty: bool = False  # changed, and not written yet

    @property
    def is_dir(self) -> bool:
        """A directory."""
        return self.mode & 0xF000 == S_IFDIR

    @property
    def is_regular(self) -> bool:
        """A regular file."""
        return self.mode & 0xF000 == S_IFREG

    @property
    def is_symlink(self) -> bool:
        """A symbolic link, fast or slow."""
        return self.mode & 0xF000 == S_IFLNK

    @property
    def is_device(self) -> bool:
        """A character or block device."""
        return S_IFMT(self.mode) in (S_IFCHR, S_IFBLK)

    @property
    def has_block_map(self) -> bool:
        """block_pointers name blocks: a regular file, a directory or a slow symbolic link."""
        file_type = self.mode & 0xF000
        return file_type in (S_IFREG, S_IFDIR) or (file_type == S_IFLNK and not self.is_fast_symlink)

    @property
    def rdev(self) -> tuple[int, int]:
        """Major and minor number of a device, or (0, 0). The old form is in the first word, the new in the second."""
        if not self.is_device:
            return 0, 0
        old, new = self.block_pointers[:2]
        if old:
            return old >> 8 & 0xFF, old & 0xFF
        return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00


class ChangeableInode(Protocol):
    """What `InodeChange` sets."""

    mode: int
    uid: int
    gid: int
    atime: int
    mtime: int
    ctime: int


class InodeChange(NamedTuple):
    """Permission bits, owners and times that an inode gets (struct iattr); None leaves one as it is.

    Times are in seconds; fractions are for file systems that keep them, which ext2 does not.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime: int | None = None
    mtime: int | None = None
    atime_fraction_ns: int = 0
    mtime_fraction_ns: int = 0

    def apply(self, inode: ChangeableInode) -> None:
        """Set them in memory, and the time of the inode's last change to now (setattr_copy)."""
        if self.mode is not None:
            inode.mode = S_IFMT(inode.mode) | self.mode & 0o7777
        inode.uid = inode.uid if self.uid is None else self.uid
        inode.gid = inode.gid if self.gid is None else self.gid
        if self.atime is not None:
            inode.atime = self.atime
        if self.mtime is not None:
            inode.mtime = self.mtime
        inode.ctime = int(time())


def device_pointers(major: int, minor: int) -> tuple[int, ...]:
    """Return block_pointers of a device: old_encode_dev in the first where it fits, else new_encode_dev in the second.

    As ext2_write_inode. `Inode.rdev` is the way back.
    """
    old = new = 0
    if major < 256 and minor < 256:
        old = major << 8 | minor
    else:
        new = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
    return old, new, *(0,) * (N_BLOCKS - 2)


def read_inode(info: SbInfo, group: Callable[[int], GroupDesc], number: int) -> Inode:
    """Read an inode that is in use, or raise Ext2FormatError; `group` reads descriptors."""
    check_number(info, number)
    inode = read_slot(info, group, number)
    check_in_use(info, inode)
    return inode


def read_slot(info: SbInfo, group: Callable[[int], GroupDesc], number: int) -> Inode:
    """Read the entry of the inode table at `number` without checking it."""
    return decode(info, number, info.source.bytes_at(_slot_offset(info, group, number), RAW_INODE.size))


def write_inode(info: SbInfo, group: Callable[[int], GroupDesc], inode: Inode) -> None:
    """Write an inode to its place in the inode table. Raises KernelError(EROFS)."""
    offset = _slot_offset(info, group, inode.number)
    raw = RawInode._make(RAW_INODE.unpack(info.source.bytes_at(offset, RAW_INODE.size)))
    info.writer().write(offset, RAW_INODE.pack(*encode(inode, raw, has_wide_owners=info.has_wide_owners)))


def clear_slot(info: SbInfo, group: Callable[[int], GroupDesc], number: int) -> None:
    """Zero a whole entry of the inode table, for an inode that is new: also what ext4 keeps behind 128 bytes."""
    info.writer().write(_slot_offset(info, group, number), bytes(info.inode_size_bytes))


def _slot_offset(info: SbInfo, group: Callable[[int], GroupDesc], number: int) -> int:
    block_group, index = divmod(number - 1, info.superblock.s_inodes_per_group)
    return group(block_group).bg_inode_table * info.block_size_bytes + index * info.inode_size_bytes


def check_number(info: SbInfo, number: int) -> None:
    """Raise Ext2FormatError for a number that names no file: out of range, or reserved (but for the root)."""
    if not (info.first_ino <= number <= info.superblock.s_inodes_count or number == ROOT_INO):
        wanted = f"{ROOT_INO} or {info.first_ino}..{info.superblock.s_inodes_count}"
        raise info.damaged("ext2_get_inode", "bad inode number", number, wanted)


def check_in_use(info: SbInfo, inode: Inode) -> None:
    """Raise Ext2FormatError for an inode that is deleted, or of no type, or of a size that no file can have."""
    where = f"inode {inode.number}"
    if inode.links_count == 0 and (inode.mode == 0 or inode.dtime):
        raise info.damaged(where, "i_links_count", f"0, deleted inode referenced (i_dtime {inode.dtime})", "at least 1")
    if S_IFMT(inode.mode) not in FILE_TYPES:
        raise info.damaged(where, "i_mode", f"{inode.mode:#o}", "the type of a file")
    if inode.size_bytes >> 63:
        raise info.damaged(where, "i_size", inode.size_bytes, "less than 2 to the 63rd")


def decode(info: SbInfo, number: int, view: memoryview) -> Inode:
    """Decode the 128 bytes of `view` without checking them, so that the checker can read any inode."""
    # fmt: off
    (mode, uid, size_bytes, atime, ctime, mtime, dtime, gid, links_count, blocks_512, flags, _osd1, pointers,
     generation, file_acl, size_high, _faddr, _frag, _fsize, _pad, uid_high, gid_high, _osd2) = RAW_INODE.unpack(view)
    # fmt: on
    file_type = mode & 0xF000
    if file_type == S_IFREG:
        size_bytes |= size_high << 32
    if info.has_wide_owners:
        uid |= uid_high << 16
        gid |= gid_high << 16
    ea_sectors = info.block_size_bytes // SECTOR_SIZE if file_acl else 0
    return Inode(
        number,
        mode,
        uid,
        gid,
        size_bytes,
        _signed(atime),
        _signed(ctime),
        _signed(mtime),
        dtime,
        links_count,
        blocks_512,
        flags,
        generation,
        file_acl,
        BLOCK_POINTERS.unpack(pointers),
        file_type == S_IFLNK and blocks_512 == ea_sectors,
    )


def encode(inode: Inode, raw: RawInode, *, has_wide_owners: bool) -> RawInode:
    """Return `raw`, what the table holds, with all that `inode` keeps in it.

    Fields that ext2 does not keep in memory, such as a fragment's address, stay as they are.
    """
    return RawInode(
        i_mode=inode.mode,
        i_uid=inode.uid & 0xFFFF,
        i_size=inode.size_bytes & 0xFFFFFFFF,
        i_atime=inode.atime & 0xFFFFFFFF,
        i_ctime=inode.ctime & 0xFFFFFFFF,
        i_mtime=inode.mtime & 0xFFFFFFFF,
        i_dtime=inode.dtime,
        i_gid=inode.gid & 0xFFFF,
        i_links_count=inode.links_count,
        i_blocks=inode.blocks_512,
        i_flags=inode.flags,
        i_osd1=raw.i_osd1,
        i_block=BLOCK_POINTERS.pack(*inode.block_pointers),
        i_generation=inode.generation,
        i_file_acl=inode.file_acl,
        i_dir_acl=inode.size_bytes >> 32 if inode.is_regular else raw.i_dir_acl,
        i_faddr=raw.i_faddr,
        i_frag=raw.i_frag,
        i_fsize=raw.i_fsize,
        i_pad1=raw.i_pad1,
        i_uid_high=inode.uid >> 16 if has_wide_owners else raw.i_uid_high,
        i_gid_high=inode.gid >> 16 if has_wide_owners else raw.i_gid_high,
        i_reserved2=raw.i_reserved2,
    )


def _signed(seconds: int) -> int:
    return seconds - (seconds >> 31 << 32)

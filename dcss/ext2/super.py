"""Read and check the superblock as ext2_fill_super does (fs/ext2/super.c of Linux 3.13), in its order and words.

Not done here: the root inode, which the kernel reads while mounting, is read when it is first used (`Volume.root`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from errno import EINVAL, EROFS
from time import time
from typing import NoReturn

from dcss.abi.ext2 import (
    DEFM_UID16,
    ERROR_FS,
    GOOD_OLD_FIRST_INO,
    GOOD_OLD_INODE_SIZE_BYTES,
    GOOD_OLD_REV,
    INCOMPAT_SUPPORTED,
    MAGIC,
    MAGIC_OFFSET,
    MAX_SUPP_REV,
    RO_COMPAT_SUPPORTED,
    SUPERBLOCK,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE_BYTES,
    VALID_FS,
    Compat,
    Incompat,
    Superblock,
)
from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.source import BlockSource, WritableSource

KMALLOC_MAX_BYTES = 1 << 20  # s390: a bigger array of groups is "not enough memory"

LogFunction = Callable[[str, str], None]


def ignore_log(_level: str, _message: str) -> None:
    """Drop a line of the kernel's log."""


def ignore_report(_damage: str) -> None:
    """Leave damage to the error that says it."""


@dataclass(slots=True)
class SbInfo:
    """A mounted volume (struct ext2_sb_info). After the mount only `superblock`, with its flag, changes."""

    source: BlockSource
    device: str
    superblock: Superblock
    block_size_bytes: int
    inode_size_bytes: int
    first_ino: int
    block_limit: int  # first block number past the file system, or past the end of a truncated device
    group_count: int
    has_filetype: bool  # directory entries carry the type of the file
    has_wide_owners: bool  # owners have 32 bits; not so with nouid32 among the default mount options
    read_only: bool
    xip: bool
    target: WritableSource | None  # `source`, where both the mount and the device may be written
    superblock_dirty: bool = False  # changed, and not written yet
    report: Callable[[str], None] = ignore_report  # is told of damage, as ext2_error is

    def damaged(self, where: str, field: str, found: object, wanted: object) -> Ext2FormatError:
        """Report damage, and return the error for a damaged `field` of the structure `where`."""
        damage = f"{where}: {field}: found {found}, wanted {wanted}"
        self.report(damage)
        return Ext2FormatError(f"{self.device}: {damage}; the image is damaged, run e2fsck")

    def writer(self) -> WritableSource:
        """Return the source to write to. Raises KernelError(EROFS) where the mount or the device is read-only."""
        if self.target is None:
            raise KernelError(EROFS, f"{self.device}: is mounted read-only")
        return self.target

    def check_block(self, block: int, where: str, field: str, count: int = 1) -> None:
        """Raise Ext2FormatError unless `count` blocks from `block` lie on the device and in the file system."""
        if not (self.superblock.s_first_data_block <= block and block + count <= self.block_limit):
            alone = count == 1 or block >= self.block_limit
            found = f"block {block}" if alone else f"blocks {block}..{block + count - 1}"
            wanted = f"{max(self.superblock.s_first_data_block, 1)}..{self.block_limit - 1}"
            raise self.damaged(where, field, found, wanted)


class Ext2Log:
    """Log lines as ext2_msg does, and refuse mounts."""

    def __init__(self, device: str, log: LogFunction) -> None:
        self.device = device
        self._log = log

    def line(self, level: str, message: str) -> str:
        """Log one line (ext2_msg) and return it as logged."""
        line = f"EXT2-fs ({self.device}): {message}"
        self._log(level, line)
        return line

    def refuse(self, message: str, *, silent: bool = False, cause: Exception | None = None) -> NoReturn:
        """Log `message` unless `silent`, and raise KernelError(EINVAL) with it."""
        line = f"EXT2-fs ({self.device}): {message}" if silent else self.line("err", message)
        raise KernelError(EINVAL, line) from cause


def refusal_reason(error: KernelError | Ext2FormatError) -> str:
    """Return why a mount was refused: the damage that was found where there is any, else the kernel's message."""
    return str(error.__cause__ or (error.strerror if isinstance(error, KernelError) else error))


def fill_super(
    source: BlockSource,
    log: Ext2Log,
    *,
    read_only: bool,
    in_place: str | None,
    silent: bool,
    logical_block_size_bytes: int,
) -> SbInfo:
    """Read and check the superblock. Raises KernelError(EINVAL) with the kernel's message where it refuses the mount.

    `in_place` is the mount option that asks for execution in place, xip or dax.
    """
    superblock = _read_superblock(source, log, silent)
    _check_features(superblock, log, read_only)
    block_size_bytes = _block_size_bytes(superblock, log, in_place, silent, logical_block_size_bytes)
    inode_size_bytes, first_ino = _inode_size_bytes(superblock, log, block_size_bytes)
    _check_sizes(superblock, log, block_size_bytes, silent)
    return SbInfo(
        source=source,
        device=log.device,
        superblock=superblock,
        block_size_bytes=block_size_bytes,
        inode_size_bytes=inode_size_bytes,
        first_ino=first_ino,
        block_limit=min(superblock.s_blocks_count, source.size_bytes // block_size_bytes),
        group_count=_group_count(superblock, log),
        has_filetype=bool(superblock.s_feature_incompat & Incompat.FILETYPE),
        has_wide_owners=not superblock.s_default_mount_opts & DEFM_UID16,
        read_only=read_only,
        xip=in_place is not None,
        target=source if not read_only and isinstance(source, WritableSource) else None,
    )


def setup_super(info: SbInfo, log: Ext2Log) -> None:
    """Warn as ext2_setup_super does; a revision that is too new makes the mount read-only."""
    superblock = info.superblock
    if superblock.s_feature_compat & Compat.HAS_JOURNAL:
        log.line("warn", "warning: mounting ext3 filesystem as ext2")
    too_new = superblock.s_rev_level > MAX_SUPP_REV
    if too_new:
        log.line("err", "error: revision level too high, forcing read-only mode")
    if not info.read_only and (reason := _why_unchecked(superblock)):
        log.line("warn", f"warning: {reason}, running e2fsck is recommended")
    if too_new:
        info.read_only, info.target = True, None


def write_super(info: SbInfo, *, wait: bool = False) -> None:
    """Write the superblock with the time of writing (ext2_sync_super); its copies stay as mke2fs left them.

    With `wait` it is on the device on return, and so is whatever the source held back.
    """
    info.superblock = info.superblock._replace(s_wtime=int(time()) & 0xFFFFFFFF)
    info.writer().write(SUPERBLOCK_OFFSET, SUPERBLOCK.pack(*info.superblock))
    info.superblock_dirty = False
    if wait:
        info.writer().flush()


def _read_superblock(source: BlockSource, log: Ext2Log, silent: bool) -> Superblock:
    try:
        view = source.bytes_at(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE_BYTES)
    except Ext2FormatError as error:
        log.refuse("error: unable to read superblock", cause=error)
    superblock = Superblock._make(SUPERBLOCK.unpack(view))
    if superblock.s_magic != MAGIC:
        where = f"superblock: s_magic at byte {MAGIC_OFFSET}"
        _cannot_find(log, silent, f"{where}: found {superblock.s_magic:#06x}, wanted {MAGIC:#06x}")
    return superblock


def _cannot_find(log: Ext2Log, silent: bool, found: str) -> NoReturn:
    message = f"error: can't find an ext2 filesystem on dev {log.device}."
    log.refuse(message, silent=silent, cause=Ext2FormatError(found))


def _check_features(superblock: Superblock, log: Ext2Log, read_only: bool) -> None:
    compat, incompat = superblock.s_feature_compat, superblock.s_feature_incompat
    ro_compat = superblock.s_feature_ro_compat
    if superblock.s_rev_level == GOOD_OLD_REV and (compat or incompat or ro_compat):
        log.line("warn", "warning: feature flags set on rev 0 fs, running e2fsck is recommended")
    if features := incompat & ~int(INCOMPAT_SUPPORTED):
        log.refuse(f"error: couldn't mount because of unsupported optional features ({features:x})")
    if not read_only and (features := ro_compat & ~int(RO_COMPAT_SUPPORTED)):
        log.refuse(f"error: couldn't mount RDWR because of unsupported optional features ({features:x})")


def _block_size_bytes(
    superblock: Superblock, log: Ext2Log, in_place: str | None, silent: bool, logical_block_size_bytes: int
) -> int:
    # A shift past 32 bits leaves nothing, as on s390; 1024 << 21 is negative in C, and refused like the rest.
    shift = superblock.s_log_block_size
    block_size_bytes = 1024 << shift & 0xFFFFFFFF if shift < 32 else 0
    if in_place and block_size_bytes != PAGE_SIZE:
        log.refuse(f"error: unsupported blocksize for {in_place}", silent=silent)
    if not max(1024, logical_block_size_bytes) <= block_size_bytes <= PAGE_SIZE:
        log.refuse(f"error: bad blocksize {block_size_bytes}")
    return block_size_bytes


def _inode_size_bytes(superblock: Superblock, log: Ext2Log, block_size_bytes: int) -> tuple[int, int]:
    if superblock.s_rev_level == GOOD_OLD_REV:
        return GOOD_OLD_INODE_SIZE_BYTES, GOOD_OLD_FIRST_INO
    size_bytes = superblock.s_inode_size
    if not GOOD_OLD_INODE_SIZE_BYTES <= size_bytes <= block_size_bytes or size_bytes & (size_bytes - 1):
        log.refuse(f"error: unsupported inode size: {size_bytes}")
    return size_bytes, superblock.s_first_ino


def _check_sizes(superblock: Superblock, log: Ext2Log, block_size_bytes: int, silent: bool) -> None:
    shift = superblock.s_log_frag_size
    frag_size_bytes = 1024 << shift & 0xFFFFFFFF if shift < 32 else 0
    if frag_size_bytes == 0:
        _cannot_find(log, silent, f"superblock: s_log_frag_size: found {shift}, wanted {superblock.s_log_block_size}")
    if superblock.s_inodes_per_group == 0:
        _cannot_find(log, silent, "superblock: s_inodes_per_group: found 0, wanted at least 1")
    if frag_size_bytes != block_size_bytes:
        log.refuse(f"error: fragsize {frag_size_bytes} != blocksize {block_size_bytes}(not supported yet)")
    most = block_size_bytes * 8
    for name, count in (
        ("blocks", superblock.s_blocks_per_group),
        ("fragments", superblock.s_frags_per_group),
        ("inodes", superblock.s_inodes_per_group),
    ):
        if count > most:
            log.refuse(f"error: #{name} per group too big: {count}")
    if superblock.s_blocks_per_group == 0:
        _cannot_find(log, silent, "superblock: s_blocks_per_group: found 0, wanted at least 1")


def _group_count(superblock: Superblock, log: Ext2Log) -> int:
    # 32-bit arithmetic, as in the kernel: a superblock without blocks has very many groups, and no memory for them.
    blocks = (superblock.s_blocks_count - superblock.s_first_data_block - 1) & 0xFFFFFFFF
    group_count = blocks // superblock.s_blocks_per_group + 1
    if group_count > KMALLOC_MAX_BYTES:
        log.refuse("error: not enough memory")
    return group_count


def _why_unchecked(superblock: Superblock) -> str | None:
    """Return the warning that ext2_setup_super gives for a mount for writing, or None."""
    if not superblock.s_state & VALID_FS:
        return "mounting unchecked fs"
    if superblock.s_state & ERROR_FS:
        return "mounting fs with errors"
    if superblock.s_max_mnt_count < 0x8000 and superblock.s_mnt_count >= superblock.s_max_mnt_count:
        return "maximal mount count reached"
    interval_s = superblock.s_checkinterval
    if interval_s and (superblock.s_lastcheck + interval_s) & 0xFFFFFFFF <= int(time()):
        return "checktime reached"
    return None

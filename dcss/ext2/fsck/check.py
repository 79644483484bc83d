"""Check a whole image, and list what is wrong with it."""

from dataclasses import dataclass
from typing import Final

from dcss.abi.ext2 import RO_COMPAT_SUPPORTED, RoCompat
from dcss.errors import Ext2FormatError, ImageError, KernelError
from dcss.ext2.fsck.checksums import Checksums
from dcss.ext2.fsck.context import CheckContext, FsckProblem
from dcss.ext2.fsck.directories import check_directories
from dcss.ext2.fsck.groups import check_descriptors, check_groups, check_superblock
from dcss.ext2.fsck.inodes import check_inodes
from dcss.ext2.source import BlockSource
from dcss.ext2.super import Ext2Log, SbInfo, fill_super, ignore_log, refusal_reason
from dcss.ext2.volume import Volume

_DEVICE: Final = "image"
# ext4's features beyond those change no more of what is checked here than hidden inodes (quotas), the link counts of
# large directories, checksums, and bitmaps and tables that were never written. What else they add is not checked.
_CHECKED: Final = RO_COMPAT_SUPPORTED | (
    RoCompat.HUGE_FILE
    | RoCompat.GDT_CSUM
    | RoCompat.DIR_NLINK
    | RoCompat.EXTRA_ISIZE
    | RoCompat.QUOTA
    | RoCompat.METADATA_CSUM
    | RoCompat.PROJECT
    | RoCompat.VERITY
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Problems, the most basic first; `suppressed` counts those after the first thousand."""

    problems: tuple[FsckProblem, ...]
    suppressed: int
    inodes: int
    blocks: int

    @property
    def clean(self) -> bool:
        """No problem was found."""
        return not self.problems


def check_image(source: BlockSource) -> CheckResult:
    """Check the ext2 image in `source`: superblock, groups, every inode, every block, every directory, all counts.

    Raises ImageError where there is no ext2 superblock, or features that ext2 does not have.
    """
    info = _read_superblock(source)
    if isinstance(info, FsckProblem):
        return CheckResult((info,), 0, 0, 0)
    context = CheckContext(info, Volume(info, Ext2Log(_DEVICE, ignore_log)), Checksums(info))
    check_superblock(context)
    check_descriptors(context)
    check_inodes(context)
    check_directories(context)
    check_groups(context)
    return CheckResult(tuple(context.problems), context.suppressed, len(context.modes), info.superblock.s_blocks_count)


def _read_superblock(source: BlockSource) -> SbInfo | FsckProblem:
    log = Ext2Log(_DEVICE, ignore_log)
    try:
        info = fill_super(source, log, read_only=True, in_place=None, silent=True, logical_block_size_bytes=512)
    except KernelError as error:
        cause, message = refusal_reason(error), error.strerror or ""
        if "s_magic" in cause or "unable to read superblock" in message or "unsupported optional" in message:
            raise ImageError(f"no ext2 file system that can be checked: {cause}") from error
        return FsckProblem("superblock", "superblock", cause)
    except Ext2FormatError as error:
        return FsckProblem("superblock", "superblock", str(error))
    if foreign := info.superblock.s_feature_ro_compat & ~int(_CHECKED):
        names = RoCompat(foreign).name or f"ro_compat features {foreign:#x}"
        raise ImageError(f"no ext2 file system that can be checked: it has {names}, use the e2fsck that knows it")
    return info

"""ext2 on disk: superblock, group descriptor, inode, directory entry, extended attributes, feature flags.

Source: fs/ext2/ext2.h and fs/ext2/xattr.h of Linux 3.13; the names are the kernel's. Everything is little-endian.
Fields that only ext3 and ext4 use lie in `s_reserved` and `bg_reserved`; their feature flags are listed so that error
messages can name them.
"""

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Annotated, Final, NamedTuple

from dcss.abi.layout import U8, U16, U32, Bytes16, Bytes60, Bytes64, struct_of

SUPERBLOCK_OFFSET: Final = 1024
SUPERBLOCK_SIZE_BYTES: Final = 1024
MAGIC: Final = 0xEF53
MAGIC_OFFSET: Final = SUPERBLOCK_OFFSET + 56
GOOD_OLD_REV: Final = 0
DYNAMIC_REV: Final = 1
GOOD_OLD_INODE_SIZE_BYTES: Final = 128
GOOD_OLD_FIRST_INO: Final = 11

BAD_INO: Final = 1
ROOT_INO: Final = 2
ACL_IDX_INO: Final = 3
ACL_DATA_INO: Final = 4
BOOT_LOADER_INO: Final = 5
UNDEL_DIR_INO: Final = 6
RESIZE_INO: Final = 7
JOURNAL_INO: Final = 8

VALID_FS: Final = 0x0001
ERROR_FS: Final = 0x0002

NDIR_BLOCKS: Final = 12
IND_BLOCK: Final = 12
DIND_BLOCK: Final = 13
TIND_BLOCK: Final = 14
N_BLOCKS: Final = 15
NAME_LEN: Final = 255
LINK_MAX: Final = 32000
SECTOR_SIZE: Final = 512


class Superblock(NamedTuple):
    """struct ext2_super_block, 1024 bytes at offset 1024 of the device."""

    s_inodes_count: U32
    s_blocks_count: U32
    s_r_blocks_count: U32
    s_free_blocks_count: U32
    s_free_inodes_count: U32
    s_first_data_block: U32
    s_log_block_size: U32
    s_log_frag_size: U32
    s_blocks_per_group: U32
    s_frags_per_group: U32
    s_inodes_per_group: U32
    s_mtime: U32
    s_wtime: U32
    s_mnt_count: U16
    s_max_mnt_count: U16
    s_magic: U16
    s_state: U16
    s_errors: U16
    s_minor_rev_level: U16
    s_lastcheck: U32
    s_checkinterval: U32
    s_creator_os: U32
    s_rev_level: U32
    s_def_resuid: U16
    s_def_resgid: U16
    # From here on, revision 1 (EXT2_DYNAMIC_REV) only.
    s_first_ino: U32
    s_inode_size: U16
    s_block_group_nr: U16
    s_feature_compat: U32
    s_feature_incompat: U32
    s_feature_ro_compat: U32
    s_uuid: Bytes16
    s_volume_name: Bytes16
    s_last_mounted: Bytes64
    s_algorithm_usage_bitmap: U32
    s_prealloc_blocks: U8
    s_prealloc_dir_blocks: U8
    s_reserved_gdt_blocks: U16  # ext2.h calls it s_padding1; mke2fs with resize_inode keeps its count of blocks here
    s_journal_uuid: Bytes16
    s_journal_inum: U32
    s_journal_dev: U32
    s_last_orphan: U32
    s_hash_seed: Bytes16
    s_def_hash_version: U8
    s_reserved_char_pad: U8
    s_desc_size: U16  # ext2.h calls it s_reserved_word_pad
    s_default_mount_opts: U32
    s_first_meta_bg: U32
    s_reserved: Annotated[bytes, "760s"]


SUPERBLOCK: Final = struct_of(Superblock, "<")
BACKUP_BGS: Final = Struct("<2I")  # the two groups that hold a backup superblock, with Compat.SPARSE_SUPER2
BACKUP_BGS_OFFSET: Final = 0x24C  # in the superblock; inside s_reserved
QUOTA_INUM_OFFSETS: Final = (0x240, 0x244, 0x26C)  # in the superblock: ext4's inodes for quotas, with RoCompat.QUOTA
ORPHAN_FILE_INUM_OFFSET: Final = 0x280  # in the superblock: ext4's inode for orphans, with Compat.ORPHAN_FILE
SUPERBLOCK_CHECKSUM_OFFSET: Final = 0x3FC  # in the superblock, with RoCompat.METADATA_CSUM
SUPERBLOCK_CHECKSUM: Final = Struct("<I")
DEFM_XATTR_USER: Final = 0x0004  # s_default_mount_opts
DEFM_ACL: Final = 0x0008
DEFM_UID16: Final = 0x0010  # owners have 16 bits
ERRORS_CONTINUE: Final = 1  # s_errors
ERRORS_RO: Final = 2
ERRORS_PANIC: Final = 3
HASH_HALF_MD4: Final = 1  # s_def_hash_version
MAX_SUPP_REV: Final = DYNAMIC_REV


class GroupDesc(NamedTuple):
    """struct ext2_group_desc, 32 bytes."""

    bg_block_bitmap: U32
    bg_inode_bitmap: U32
    bg_inode_table: U32
    bg_free_blocks_count: U16
    bg_free_inodes_count: U16
    bg_used_dirs_count: U16
    bg_pad: U16
    bg_reserved: Annotated[bytes, "12s"]


GROUP_DESC: Final = struct_of(GroupDesc, "<")
BG_INODE_UNINIT: Final = 1  # ext4's bg_flags, in bg_pad: the inode bitmap and the inode table were never written
BG_BLOCK_UNINIT: Final = 2  # the block bitmap was never written


class GroupChecksums(NamedTuple):
    """What ext4 keeps in bg_reserved, with RoCompat.GDT_CSUM or METADATA_CSUM."""

    bg_exclude_bitmap_lo: U32
    bg_block_bitmap_csum_lo: U16
    bg_inode_bitmap_csum_lo: U16
    bg_itable_unused_lo: U16  # inodes at the end of the table that were never used
    bg_checksum: U16


GROUP_CHECKSUMS: Final = struct_of(GroupChecksums, "<")


class RawInode(NamedTuple):
    """struct ext2_inode, 128 bytes; the Linux variant of osd1 and osd2. Larger inodes hold more, which ext2 ignores."""

    i_mode: U16
    i_uid: U16
    i_size: U32
    i_atime: U32
    i_ctime: U32
    i_mtime: U32
    i_dtime: U32
    i_gid: U16
    i_links_count: U16
    i_blocks: U32
    i_flags: U32
    i_osd1: U32
    i_block: Bytes60
    i_generation: U32
    i_file_acl: U32
    i_dir_acl: U32  # i_size_high of a regular file
    i_faddr: U32
    i_frag: U8
    i_fsize: U8
    i_pad1: U16
    i_uid_high: U16
    i_gid_high: U16
    i_reserved2: U32


RAW_INODE: Final = struct_of(RawInode, "<")
BLOCK_POINTERS: Final = Struct("<15I")  # i_block as block numbers


class InodeFlag(IntFlag):
    """Those of i_flags that are looked at. EXTENTS and INLINE_DATA are ext4's: i_block then holds no block numbers."""

    SECRM = 0x00000001
    UNRM = 0x00000002
    COMPR = 0x00000004
    SYNC = 0x00000008
    IMMUTABLE = 0x00000010
    APPEND = 0x00000020
    NODUMP = 0x00000040
    NOATIME = 0x00000080
    DIRTY = 0x00000100
    COMPRBLK = 0x00000200
    NOCOMP = 0x00000400
    JOURNAL_DATA = 0x00004000
    NOTAIL = 0x00008000
    DIRSYNC = 0x00010000
    INDEX = 0x00001000
    IMAGIC = 0x00002000
    EXTENTS = 0x00080000
    INLINE_DATA = 0x10000000


INHERITED_FLAGS: Final = (  # EXT2_FL_INHERITED: a new file takes them from its directory
    InodeFlag.SECRM
    | InodeFlag.UNRM
    | InodeFlag.COMPR
    | InodeFlag.SYNC
    | InodeFlag.NODUMP
    | InodeFlag.NOATIME
    | InodeFlag.COMPRBLK
    | InodeFlag.NOCOMP
    | InodeFlag.JOURNAL_DATA
    | InodeFlag.NOTAIL
    | InodeFlag.DIRSYNC
)
REGULAR_FLAGS: Final = ~(InodeFlag.DIRSYNC)  # EXT2_REG_FLMASK
OTHER_FLAGS: Final = InodeFlag.NODUMP | InodeFlag.NOATIME  # EXT2_OTHER_FLMASK
FOREIGN_BLOCK_MAPS: Final = InodeFlag.EXTENTS | InodeFlag.INLINE_DATA


class DirEntryHead(NamedTuple):
    """Head of struct ext2_dir_entry_2; `name_len` bytes of name follow. Without FILETYPE, name_len is 16 bits wide."""

    inode: U32
    rec_len: U16
    name_len: U8
    file_type: U8


DIR_ENTRY_HEAD: Final = struct_of(DirEntryHead, "<")
DIR_ROUND_BYTES: Final = 4
MAX_REC_LEN: Final = (1 << 16) - 1


class DirFileType(IntEnum):
    """file_type of a directory entry."""

    UNKNOWN = 0
    REG_FILE = 1
    DIR = 2
    CHRDEV = 3
    BLKDEV = 4
    FIFO = 5
    SOCK = 6
    SYMLINK = 7


class XattrHeader(NamedTuple):
    """struct ext2_xattr_header, at the start of the block that i_file_acl names."""

    h_magic: U32
    h_refcount: U32
    h_blocks: U32
    h_hash: U32
    h_reserved: Bytes16


XATTR_HEADER: Final = struct_of(XattrHeader, "<")
XATTR_MAGIC: Final = 0xEA020000
XATTR_REFCOUNT_MAX: Final = 1024  # inodes that share a block
XATTR_ROUND_BYTES: Final = 4


class XattrEntryHead(NamedTuple):
    """Head of struct ext2_xattr_entry; `e_name_len` bytes of name follow, padded to four."""

    e_name_len: U8
    e_name_index: U8
    e_value_offs: U16
    e_value_block: U32
    e_value_size: U32
    e_hash: U32


XATTR_ENTRY_HEAD: Final = struct_of(XattrEntryHead, "<")


class XattrIndex(IntEnum):
    """e_name_index: the prefix of an attribute's name."""

    USER = 1
    POSIX_ACL_ACCESS = 2
    POSIX_ACL_DEFAULT = 3
    TRUSTED = 4
    LUSTRE = 5
    SECURITY = 6


XATTR_PREFIXES: Final = {
    XattrIndex.USER: b"user.",
    XattrIndex.POSIX_ACL_ACCESS: b"system.posix_acl_access",
    XattrIndex.POSIX_ACL_DEFAULT: b"system.posix_acl_default",
    XattrIndex.TRUSTED: b"trusted.",
    XattrIndex.SECURITY: b"security.",
}

ACL_VERSION: Final = 1  # fs/ext2/acl.h: first word of an ACL on disk
ACL_ENTRY_SHORT: Final = Struct("<HH")  # e_tag, e_perm
ACL_ENTRY: Final = Struct("<HHI")  # e_tag, e_perm, e_id: ACL_USER and ACL_GROUP only
ACL_USER: Final = 0x02
ACL_GROUP: Final = 0x08
ACL_UNDEFINED_ID: Final = 0xFFFFFFFF
POSIX_ACL_XATTR_VERSION: Final = 2  # linux/posix_acl_xattr.h: the form getxattr(2) gives, every entry with e_id


class Compat(IntFlag):
    """s_feature_compat: unknown bits never refuse a mount."""

    DIR_PREALLOC = 0x0001
    IMAGIC_INODES = 0x0002
    HAS_JOURNAL = 0x0004
    EXT_ATTR = 0x0008
    RESIZE_INODE = 0x0010
    DIR_INDEX = 0x0020
    SPARSE_SUPER2 = 0x0200
    ORPHAN_FILE = 0x1000


class Incompat(IntFlag):
    """s_feature_incompat: an unsupported bit refuses every mount."""

    COMPRESSION = 0x0001
    FILETYPE = 0x0002
    RECOVER = 0x0004
    JOURNAL_DEV = 0x0008
    META_BG = 0x0010
    EXTENTS = 0x0040
    SIXTY_FOUR_BIT = 0x0080
    MMP = 0x0100
    FLEX_BG = 0x0200
    EA_INODE = 0x0400
    DIRDATA = 0x1000
    CSUM_SEED = 0x2000
    LARGEDIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x10000
    CASEFOLD = 0x20000


class RoCompat(IntFlag):
    """s_feature_ro_compat: an unsupported bit refuses a mount for writing."""

    SPARSE_SUPER = 0x0001
    LARGE_FILE = 0x0002
    BTREE_DIR = 0x0004
    HUGE_FILE = 0x0008
    GDT_CSUM = 0x0010
    DIR_NLINK = 0x0020
    EXTRA_ISIZE = 0x0040
    QUOTA = 0x0100
    BIGALLOC = 0x0200
    METADATA_CSUM = 0x0400
    PROJECT = 0x2000
    VERITY = 0x8000


INCOMPAT_SUPPORTED: Final = Incompat.FILETYPE | Incompat.META_BG
RO_COMPAT_SUPPORTED: Final = RoCompat.SPARSE_SUPER | RoCompat.LARGE_FILE | RoCompat.BTREE_DIR

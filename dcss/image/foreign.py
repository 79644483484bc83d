"""Recognize what lies at the front of a file that is no ext2 image, and say what to do with it.

Sources: the magic numbers of file(1) and libblkid (util-linux), and of each format's own description.
"""

import shlex
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from dcss.abi.ext2 import MAGIC, MAGIC_OFFSET, SUPERBLOCK, SUPERBLOCK_OFFSET
from dcss.ext2.source import BlockSource
from dcss.host.partitions import PartitionTable, partition_table
from dcss.image.superblock import block_bytes, read, superblock_at

_SECTOR_SIZE_BYTES: Final = 512
_SEARCHED_BYTES: Final = 1 << 20
_CONVERT: Final = "convert it first: qemu-img convert -O raw {path} {path}.raw"
_COPY: Final = "mount it, and build an image of its files: dcss image build DIRECTORY -o IMG"
_OPEN_LUKS: Final = "open it first: cryptsetup open {path} NAME, and take /dev/mapper/NAME"
_ACTIVATE: Final = "activate its group first: vgchange -ay, and take the logical volume"


class Signature(NamedTuple):
    """A format: its name, the bytes that it is known by, where they may lie, and what to do (`{path}` is the file)."""

    name: str
    magic: bytes
    offsets: tuple[int, ...]
    advice: str


_FRONT: Final = (0,)
_SWAP_ENDS: Final = tuple(page_size_bytes - 10 for page_size_bytes in (4096, 8192, 16384, 65536))
_COMPRESSIONS: Final = (
    Signature("gzip data", b"\x1f\x8b", _FRONT, "unpack it first: gunzip -k {path}"),
    Signature("xz data", b"\xfd7zXZ\0", _FRONT, "unpack it first: unxz -k {path}"),
    Signature("zstd data", b"\x28\xb5\x2f\xfd", _FRONT, "unpack it first: unzstd {path}"),
    Signature("bzip2 data", b"BZh", _FRONT, "unpack it first: bunzip2 -k {path}"),
)
_FORMATS: Final = (
    Signature("a qcow2 disk image", b"QFI\xfb", _FRONT, _CONVERT),
    Signature("a VMDK disk image", b"KDMV", _FRONT, _CONVERT),
    Signature("a VMDK disk image", b"COWD", _FRONT, _CONVERT),
    Signature("a VMDK descriptor", b"# Disk DescriptorFile", _FRONT, _CONVERT),
    Signature("a VDI disk image", b"\x7f\x10\xda\xbe", (0x40,), _CONVERT),
    Signature("a VHDX disk image", b"vhdxfile", _FRONT, _CONVERT),
    Signature("a VHD disk image", b"conectix", _FRONT, _CONVERT),
    Signature(
        "a squashfs file system", b"hsqs", _FRONT, "unpack it, and build an image of its files: unsquashfs {path}"
    ),
    Signature("an ISO 9660 file system", b"CD001", (32769,), _COPY),
    Signature("a LUKS container", b"LUKS\xba\xbe", _FRONT, _OPEN_LUKS),
    Signature("an LVM physical volume", b"LABELONE", (0, 512, 1024, 1536), _ACTIVATE),
    Signature("an XFS file system", b"XFSB", _FRONT, _COPY),
    Signature("a btrfs file system", b"_BHRfS_M", (0x10040,), _COPY),
    Signature("swap space", b"SWAPSPACE2", _SWAP_ENDS, "it holds no files: give another file"),
    Signature("swap space", b"SWAP-SPACE", _SWAP_ENDS, "it holds no files: give another file"),
)


class Foreign(NamedTuple):
    """What was found instead of an ext2 image, and what to do."""

    found: str
    advice: str
    compressed: bool = False
    offsets: tuple[int, ...] = ()  # where ext2 file systems begin in it

    def __str__(self) -> str:
        return f"found {self.found}, wanted an ext2 image: {self.advice}"


def foreign_content(source: BlockSource, path: Path, base: int = 0) -> Foreign | None:
    """Return what `source` is instead of an ext2 image, or None where it has ext2's magic or is not recognized.

    `path` is the file whose byte `base` is the first of `source`.
    """
    if read(source, MAGIC_OFFSET, 2) == MAGIC.to_bytes(2, "little"):
        return None
    for signature in (*_COMPRESSIONS, *_FORMATS):
        if any(read(source, offset, len(signature.magic)) == signature.magic for offset in signature.offsets):
            advice = signature.advice.format(path=shlex.quote(str(path)))
            return Foreign(signature.name, advice, compressed=signature in _COMPRESSIONS)
    if (table := partition_table(partial(read, source))) is not None:
        return _partitioned(source, table, base)
    if (offset := _ext2_offset(source)) is not None:
        return _offset_from(f"an ext2 file system at byte {base + offset}", [base + offset])
    return None


def has_ext2_at(source: BlockSource, offset: int) -> bool:
    """Return whether a plausible primary superblock of ext2 belongs to a file system that begins at `offset`."""
    superblock = superblock_at(source, offset)
    if superblock is None:
        return False
    # A bitmap of one block has a bit for each block and inode of a group.
    most = 8 * block_bytes(superblock)
    return (
        superblock.s_rev_level <= 1
        and superblock.s_block_group_nr == 0  # another number is a copy's
        and superblock.s_first_data_block <= 1
        and superblock.s_first_data_block < superblock.s_blocks_count
        and superblock.s_free_blocks_count <= superblock.s_blocks_count
        and 0 < superblock.s_blocks_per_group <= most
        and 0 < superblock.s_inodes_per_group <= most
    )


def _partitioned(source: BlockSource, table: PartitionTable, base: int) -> Foreign:
    first_bytes = [partition.first_byte for partition in table.partitions]
    offsets = [base + first for first in first_bytes if has_ext2_at(source, first)]
    if offsets:
        return _offset_from(f"a partition table ({table.kind})", offsets)
    places = ", ".join(str(base + first) for first in first_bytes)
    return Foreign(
        f"a partition table ({table.kind}) whose partitions, at bytes {places}, hold no ext2",
        "give an image of a file system",
    )


def _ext2_offset(source: BlockSource) -> int | None:
    """Return where in the first MiB an ext2 file system begins, or None."""
    head = read(source, 0, _SEARCHED_BYTES + SUPERBLOCK_OFFSET + SUPERBLOCK.size)
    magic = MAGIC.to_bytes(2, "little")
    for offset in range(_SECTOR_SIZE_BYTES, _SEARCHED_BYTES + 1, _SECTOR_SIZE_BYTES):
        at = offset + MAGIC_OFFSET
        if head[at : at + 2] == magic and has_ext2_at(source, offset):
            return offset
    return None


def _offset_from(found: str, offsets: list[int]) -> Foreign:
    several = f" (others with ext2: {', '.join(map(str, offsets[1:]))})" if offsets[1:] else ""
    advice = (
        f"give image ls, cat, check or map --offset {offsets[0]}, or in YAML offset: {offsets[0]} beside ext2:{several}"
    )
    return Foreign(found, advice, offsets=tuple(offsets))

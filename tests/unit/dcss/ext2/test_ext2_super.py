"""Mounting: the kernel's checks in its order and words (fs/ext2/super.c, Linux 3.13)."""

from errno import EINVAL

import pytest
from ext2_support import CountingSource, TinyImage

from dcss.abi.ext2 import ERROR_FS, GOOD_OLD_REV, SUPERBLOCK, Compat, Incompat, RoCompat
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

P = "EXT2-fs (dcssblk0): "
Lines = list[tuple[str, str]]


def mount(image: TinyImage, **options: object) -> tuple[Volume, Lines]:
    lines: Lines = []
    return image.volume(log=lambda level, line: lines.append((level, line)), **options), lines


def refusal(image: TinyImage, **options: object) -> tuple[KernelError, Lines]:
    lines: Lines = []
    with pytest.raises(KernelError) as caught:
        image.volume(log=lambda level, line: lines.append((level, line)), **options)
    assert caught.value.errno == EINVAL
    return caught.value, lines


def test_a_sound_image_mounts_without_a_word() -> None:
    volume, lines = mount(TinyImage(block_size=4096), xip=True, device="dcssblk7")
    assert lines == []
    assert (volume.device, volume.xip, volume.read_only) == ("dcssblk7", True, True)
    assert (volume.block_size_bytes, volume.block_count, volume.group_count) == (4096, 256, 1)
    assert volume.superblock.s_inodes_count == 64


@pytest.mark.parametrize("block_size", [1024, 2048, 4096])
def test_mounting_reads_superblock_and_descriptors_and_nothing_else(block_size: int) -> None:
    image = TinyImage(block_size=block_size)
    source = CountingSource(image.data)
    Volume.mount(source)
    table = block_size if block_size > 1024 else 2048
    assert source.reads == [(1024, 1024), (table, 32)]


CANNOT_FIND = "error: can't find an ext2 filesystem on dev dcssblk0."


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"s_magic": 0xEF51}, {}, CANNOT_FIND),
        ({"s_log_frag_size": 22}, {}, CANNOT_FIND),
        ({"s_inodes_per_group": 0}, {}, CANNOT_FIND),
        ({"s_blocks_per_group": 0}, {}, CANNOT_FIND),
        (
            {"s_feature_incompat": int(Incompat.FILETYPE | Incompat.EXTENTS | Incompat.SIXTY_FOUR_BIT)},
            {},
            "error: couldn't mount because of unsupported optional features (c0)",
        ),
        (
            {"s_feature_ro_compat": int(RoCompat.LARGE_FILE | RoCompat.METADATA_CSUM)},
            {"read_only": False},
            "error: couldn't mount RDWR because of unsupported optional features (400)",
        ),
        ({}, {"xip": True}, "error: unsupported blocksize for xip"),
        ({"s_log_block_size": 3, "s_log_frag_size": 3}, {}, "error: bad blocksize 8192"),
        ({"s_log_block_size": 6, "s_log_frag_size": 6}, {}, "error: bad blocksize 65536"),
        ({"s_log_block_size": 40}, {}, "error: bad blocksize 0"),
        ({}, {"logical_block_size_bytes": 4096}, "error: bad blocksize 1024"),
        ({"s_inode_size": 64}, {}, "error: unsupported inode size: 64"),
        ({"s_inode_size": 192}, {}, "error: unsupported inode size: 192"),
        ({"s_inode_size": 2048}, {}, "error: unsupported inode size: 2048"),
        ({"s_log_frag_size": 2}, {}, "error: fragsize 4096 != blocksize 1024(not supported yet)"),
        ({"s_blocks_per_group": 8193}, {}, "error: #blocks per group too big: 8193"),
        ({"s_frags_per_group": 8200}, {}, "error: #fragments per group too big: 8200"),
        ({"s_inodes_per_group": 9000}, {}, "error: #inodes per group too big: 9000"),
        ({"s_blocks_per_group": 1, "s_blocks_count": 0xFFFFFFF0}, {}, "error: not enough memory"),
        ({"s_blocks_count": 0}, {}, "error: unable to read group descriptors"),
    ],
)
def test_refusals(fields: dict[str, int], options: dict[str, object], message: str) -> None:
    image = TinyImage()
    image.superblock(**fields)
    error, lines = refusal(image, **options)
    assert lines == [("err", P + message)]
    assert error.strerror == P + message


def test_bad_magic_tells_its_cause() -> None:
    image = TinyImage()
    image.superblock(s_magic=0)
    error, _ = refusal(image)
    assert isinstance(error.__cause__, Ext2FormatError)
    assert "byte 1080: found 0x0000, wanted 0xef53" in str(error.__cause__)


def test_silent_leaves_out_what_the_kernel_leaves_out() -> None:
    image = TinyImage()
    assert refusal(image, silent=True, xip=True)[1] == []
    image.superblock(s_feature_incompat=0x40)
    assert len(refusal(image, silent=True)[1]) == 1
    image.superblock(s_magic=0)
    assert refusal(image, silent=True)[1] == []


@pytest.mark.parametrize("size_bytes", [0, 1024, 2047])
def test_a_device_without_a_superblock(size_bytes: int) -> None:
    with pytest.raises(KernelError, match="error: unable to read superblock"):
        Volume.mount(BufferSource(bytes(size_bytes)))


def test_revision_0_has_fixed_inodes_and_warns_of_flags() -> None:
    image = TinyImage()
    image.superblock(s_rev_level=GOOD_OLD_REV, s_inode_size=999, s_first_ino=50)
    image.file(11, b"first")
    volume, lines = mount(image)
    assert lines == [("warn", P + "warning: feature flags set on rev 0 fs, running e2fsck is recommended")]
    assert volume.inode(11).size_bytes == 5
    image.superblock(s_feature_incompat=0)
    assert mount(image)[1] == []


def test_unknown_features_that_only_forbid_writing_are_fine_for_reading() -> None:
    image = TinyImage()
    image.superblock(s_feature_compat=0xFFFFFFFF & ~int(Compat.HAS_JOURNAL), s_feature_ro_compat=0xFFFFFFFF)
    assert mount(image)[1] == []


def test_a_journal_that_is_not_needed_is_warned_of() -> None:
    image = TinyImage()
    image.superblock(s_feature_compat=int(Compat.HAS_JOURNAL))
    assert mount(image)[1] == [("warn", P + "warning: mounting ext3 filesystem as ext2")]


def test_a_revision_to_come_is_read_only() -> None:
    image = TinyImage()
    image.superblock(s_rev_level=2)
    volume, lines = mount(image, read_only=False)
    assert lines == [("err", P + "error: revision level too high, forcing read-only mode")]
    assert volume.read_only


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"s_state": 0}, "mounting unchecked fs"),
        ({"s_state": 1 | ERROR_FS}, "mounting fs with errors"),
        ({"s_max_mnt_count": 20, "s_mnt_count": 20}, "maximal mount count reached"),
        ({"s_checkinterval": 10, "s_lastcheck": 1000}, "checktime reached"),
    ],
)
def test_only_a_mount_for_writing_asks_for_a_check(fields: dict[str, int], reason: str) -> None:
    image = TinyImage()
    image.superblock(**fields)
    assert mount(image)[1] == []
    volume, lines = mount(image, read_only=False)
    assert lines == [("warn", f"{P}warning: {reason}, running e2fsck is recommended")]
    assert not volume.read_only


@pytest.mark.parametrize(
    "fields",
    [
        {"s_max_mnt_count": 20, "s_mnt_count": 19},
        {"s_max_mnt_count": 0x8000, "s_mnt_count": 0x9000},
        {"s_checkinterval": 10, "s_lastcheck": 0xFFFFFF00},
        {"s_checkinterval": 0, "s_lastcheck": 1},
    ],
)
def test_a_mount_for_writing_of_what_needs_no_check(fields: dict[str, int]) -> None:
    image = TinyImage()
    image.superblock(**fields)
    assert mount(image, read_only=False)[1] == []


def test_the_superblock_is_where_it_is_with_every_block_size() -> None:
    for block_size in (1024, 2048, 4096):
        image = TinyImage(block_size=block_size)
        assert SUPERBLOCK.unpack_from(image.data, 1024) == tuple(image.volume().superblock)

import pytest
from ext2_support import CountingSource, TinyImage

from dcss.abi.ext2 import BACKUP_BGS, BACKUP_BGS_OFFSET, GROUP_DESC, SUPERBLOCK_SIZE_BYTES, Compat, Incompat, RoCompat
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2 import groups
from dcss.ext2.super import SbInfo
from dcss.ext2.volume import Volume

PER_GROUP = 64
PER_BLOCK = 1024 // GROUP_DESC.size


def many_groups(count: int, **fields: int | bytes) -> TinyImage:
    """Groups of 64 blocks; descriptors are not written yet."""
    image = TinyImage(blocks=1 + count * PER_GROUP, inodes=8)
    image.superblock(
        s_blocks_per_group=PER_GROUP,
        s_frags_per_group=PER_GROUP,
        s_inodes_per_group=8,
        s_inodes_count=8 * count,
        **fields,
    )
    return image


def write_desc(image: TinyImage, block: int, slot: int, group: int) -> None:
    first = 1 + group * PER_GROUP
    desc = (first + 10, first + 11, first + 12, 0, 0, 0, 0, bytes(12))
    image.write(block, GROUP_DESC.pack(*desc), slot * GROUP_DESC.size)


def powers(group: int) -> bool:
    return group < 2 or any(group == base**n for base in (3, 5, 7) for n in range(1, 8))


def test_the_table_in_one_piece_is_one_read() -> None:
    image = many_groups(70)
    for group in range(70):
        write_desc(image, 2, group, group)
    source = CountingSource(image.data)
    volume = Volume.mount(source)
    assert source.reads == [(1024, 1024), (2048, 70 * 32)]
    assert [volume.group(group).bg_inode_table for group in (0, 31, 69)] == [13, 1 + 31 * 64 + 12, 1 + 69 * 64 + 12]


@pytest.mark.parametrize("sparse", [True, False])
def test_meta_bg_has_a_piece_in_every_meta_group(sparse: bool) -> None:
    flag = int(RoCompat.SPARSE_SUPER) if sparse else 0
    image = many_groups(290, s_feature_incompat=int(Incompat.META_BG), s_feature_ro_compat=flag)
    for group in range(290):
        home = group // PER_BLOCK * PER_BLOCK
        block = 1 + home * PER_GROUP + (powers(home) or not sparse)
        write_desc(image, block, group % PER_BLOCK, group)
    source = CountingSource(image.data)
    volume = Volume.mount(source)
    assert len(source.reads) == 1 + -(-290 // PER_BLOCK)
    assert [volume.group(group).bg_block_bitmap for group in range(290)] == [1 + g * 64 + 10 for g in range(290)]


def test_first_meta_bg_and_backups_named_in_the_superblock() -> None:
    image = many_groups(
        100,
        s_feature_incompat=int(Incompat.META_BG),
        s_feature_compat=int(Compat.SPARSE_SUPER2),
        s_first_meta_bg=2,
    )
    reserved = bytearray(760)
    BACKUP_BGS.pack_into(reserved, BACKUP_BGS_OFFSET - (SUPERBLOCK_SIZE_BYTES - len(reserved)), 1, 96)
    image.superblock(s_reserved=bytes(reserved))
    for group in range(64):
        write_desc(image, 2, group, group)
    for group in range(64, 96):
        write_desc(image, 1 + 64 * PER_GROUP, group - 64, group)
    for group in range(96, 100):
        write_desc(image, 1 + 96 * PER_GROUP + 1, group - 96, group)
    volume = image.volume()
    assert [volume.group(group).bg_inode_bitmap for group in range(100)] == [1 + g * 64 + 11 for g in range(100)]


FIELDS = [
    ("bg_block_bitmap", "Block bitmap"),
    ("bg_inode_bitmap", "Inode bitmap"),
    ("bg_inode_table", "Inode table"),
]


@pytest.mark.parametrize(("field", "name"), FIELDS)
@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_block_outside_its_group_refuses_the_mount(field: str, name: str, group: int, side: str) -> None:
    image = many_groups(3)
    for number in range(3):
        write_desc(image, 2, number, number)
    first = 1 + group * PER_GROUP
    bad = first - 1 if side == "before" else first + PER_GROUP
    image.desc(group, **{field: bad})
    lines: list[str] = []
    with pytest.raises(KernelError, match="group descriptors corrupted") as caught:
        image.volume(log=lambda _level, line: lines.append(line))
    prefix = "EXT2-fs (dcssblk0): "
    assert lines == [
        f"{prefix}error: ext2_check_descriptors: {name} for group {group} not in group (block {bad})!",
        prefix + "group descriptors corrupted",
    ]
    assert f"group {group}: {field}: found block {bad}, wanted {first}.." in str(caught.value.__cause__)


def test_the_inode_table_must_fit_to_its_end() -> None:
    image = many_groups(1)
    image.superblock(s_inodes_per_group=16)  # two blocks of inodes
    for at, fits in ((PER_GROUP - 1, True), (PER_GROUP, False)):
        write_desc(image, 2, 0, 0)
        image.desc(0, bg_inode_table=at)
        if fits:
            image.volume()
        else:
            with pytest.raises(KernelError):
                image.volume()


def test_the_last_group_may_be_short_and_is_checked_as_such() -> None:
    image = many_groups(2)
    write_desc(image, 2, 0, 0)
    write_desc(image, 2, 1, 1)
    image.superblock(s_blocks_count=1 + PER_GROUP + 13)
    image.volume()
    image.superblock(s_blocks_count=1 + PER_GROUP + 12)
    with pytest.raises(KernelError):
        image.volume()


def test_a_descriptor_that_changes_after_the_mount_is_checked_again() -> None:
    image = TinyImage()
    volume = image.volume()
    image.desc(0, bg_inode_table=9999)
    with pytest.raises(Ext2FormatError, match=r"descriptor of group 0: bg_inode_table: found block 9999, wanted 1\.\."):
        volume.group(0)
    with pytest.raises(Ext2FormatError, match=r"number: found 1, wanted 0\.\.0"):
        volume.group(1)


def test_backups_of_the_superblock_are_where_e2fsprogs_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    image = TinyImage()
    image.superblock(s_feature_ro_compat=int(RoCompat.SPARSE_SUPER))
    info: SbInfo = image.volume()._info
    assert [group for group in range(400) if groups.has_super(info, group)] == [
        0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343
    ]  # fmt: skip

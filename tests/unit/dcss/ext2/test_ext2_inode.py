from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK
from typing import Any

import pytest
from ext2_support import TinyImage

from dcss.errors import Ext2FormatError
from dcss.ext2.inode import Inode, device_pointers


def one(image: TinyImage | None = None, pointers: tuple[int, ...] = (), **fields: int) -> Inode:
    image = image or TinyImage()
    image.inode(12, pointers=pointers, **{"i_links_count": 1, "i_mode": S_IFREG | 0o644, **fields})
    return image.volume().inode(12)


def test_every_field() -> None:
    inode = one(
        i_mode=S_IFREG | 0o4755,
        i_uid=0x1111,
        i_uid_high=0x2222,
        i_gid=0x3333,
        i_gid_high=0x4444,
        i_size=0x55555555,
        i_dir_acl=0x6,
        i_atime=1,
        i_ctime=0xFFFFFFFF,
        i_mtime=0x80000000,
        i_dtime=7,
        i_links_count=8,
        i_blocks=9,
        i_flags=0x40,
        i_generation=11,
        i_file_acl=12,
        pointers=tuple(range(100, 115)),
    )
    assert (inode.number, inode.mode) == (12, S_IFREG | 0o4755)
    assert (inode.uid, inode.gid) == (0x22221111, 0x44443333)
    assert inode.size_bytes == 0x655555555
    assert (inode.atime, inode.ctime, inode.mtime, inode.dtime) == (1, -1, -(1 << 31), 7)
    assert (inode.links_count, inode.blocks_512, inode.flags, inode.generation, inode.file_acl) == (8, 9, 0x40, 11, 12)
    assert inode.block_pointers == tuple(range(100, 115))


def test_it_has_its_fields_and_no_others() -> None:
    inode = one()
    with pytest.raises(AttributeError):
        inode.note = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("rdev", [(0, 0), (8, 1), (255, 255), (256, 0), (1, 256), (0xABC, 0xDEF34), (0xFFF, 0xFFFFF)])
def test_a_device_number_survives_its_pointers(rdev: tuple[int, int]) -> None:
    assert one(i_mode=S_IFCHR, pointers=device_pointers(*rdev)).rdev == rdev


def test_only_a_regular_file_has_64_bits_of_size() -> None:
    assert one(i_mode=S_IFDIR, i_size=1024, i_dir_acl=5).size_bytes == 1024


def test_owners_of_16_bits_where_the_superblock_says_so() -> None:
    image = TinyImage()
    image.superblock(s_default_mount_opts=0x10)
    inode = one(image, i_uid=5, i_uid_high=1, i_gid=6, i_gid_high=1)
    assert (inode.uid, inode.gid) == (5, 6)


@pytest.mark.parametrize(
    ("mode", "properties"),
    [
        (S_IFREG, {"is_regular", "has_block_map"}),
        (S_IFDIR, {"is_dir", "has_block_map"}),
        (S_IFLNK, {"is_symlink", "is_fast_symlink"}),
        (S_IFCHR, {"is_device"}),
        (S_IFBLK, {"is_device"}),
        (S_IFIFO, set()),
        (S_IFSOCK, set()),
    ],
)
def test_types(mode: int, properties: set[str]) -> None:
    inode = one(i_mode=mode | 0o644)
    names = ("is_regular", "is_dir", "is_symlink", "is_fast_symlink", "is_device", "has_block_map")
    assert {name for name in names if getattr(inode, name)} == properties


@pytest.mark.parametrize(("blocks", "file_acl", "fast"), [(0, 0, True), (2, 0, False), (2, 9, True), (4, 9, False)])
def test_a_link_is_fast_when_it_has_no_block_but_that_of_its_attributes(blocks: int, file_acl: int, fast: bool) -> None:
    inode = one(i_mode=S_IFLNK, i_size=4, i_blocks=blocks, i_file_acl=file_acl)
    assert inode.is_fast_symlink is fast
    assert inode.has_block_map is not fast


@pytest.mark.parametrize(
    ("words", "rdev"),
    [
        ((0x0801, 0), (8, 1)),
        ((0x55550801, 0), (8, 1)),
        ((0xFF02, 0x12345678), (255, 2)),
        ((0, 0x0801), (8, 1)),
        ((0, 0xABC << 8 | 0x34 | 0xDEF << 20), (0xABC, 0xDEF34)),
    ],
)
@pytest.mark.parametrize("mode", [S_IFCHR, S_IFBLK])
def test_device_numbers_old_and_new(mode: int, words: tuple[int, ...], rdev: tuple[int, int]) -> None:
    assert one(i_mode=mode, pointers=words).rdev == rdev


def test_a_file_has_no_device_number() -> None:
    assert one(pointers=(0x0801,)).rdev == (0, 0)


@pytest.mark.parametrize("number", [0, 1, 3, 10, 65, 1 << 32, -1])
def test_numbers_that_name_no_file(number: int) -> None:
    with pytest.raises(Ext2FormatError, match=rf"bad inode number: found {number}, wanted 2 or 11\.\.64"):
        TinyImage().volume().inode(number)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"i_links_count": 0, "i_dtime": 77}, r"inode 12: i_links_count: found 0, .*i_dtime 77"),
        ({"i_links_count": 0, "i_mode": 0}, "i_links_count"),
        ({"i_mode": 0o644}, "i_mode: found 0o644"),
        ({"i_mode": 0o150000}, "i_mode: found 0o150000"),
        ({"i_dir_acl": 0x80000000}, "i_size"),
    ],
)
def test_inodes_that_are_no_files(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Ext2FormatError, match=message):
        one(**fields)


def test_an_orphan_is_still_a_file() -> None:
    assert one(i_links_count=0).links_count == 0


def test_a_slot_can_be_looked_at_whatever_is_in_it() -> None:
    image = TinyImage()
    image.inode(7, i_mode=S_IFREG, i_size=9)
    volume = image.volume()
    assert volume.inode_slot(7).size_bytes == 9
    assert volume.inode_slot(64).mode == 0
    for number in (0, -5, 65):
        with pytest.raises(Ext2FormatError):
            volume.inode_slot(number)


def test_inodes_of_another_size_lie_further_apart() -> None:
    image = TinyImage(inodes=16)
    image.superblock(s_inode_size=256)
    image.inode(4, i_mode=S_IFREG, i_links_count=1)  # a slot of 128 bytes that is the extra half of inode 2
    image.inode(23, i_mode=S_IFREG | 0o600, i_links_count=1, i_size=33)
    assert image.volume().inode(12).size_bytes == 33

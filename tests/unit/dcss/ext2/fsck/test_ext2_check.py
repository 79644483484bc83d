"""Each damage alone: what the checker says of it. That e2fsck agrees is for the conformance tests."""

import struct
from pathlib import Path
from typing import Any

import pytest
from image_support import Read, build

from dcss.abi.ext2 import GROUP_DESC, RAW_INODE, SUPERBLOCK, SUPERBLOCK_OFFSET, GroupDesc, RawInode, Superblock
from dcss.errors import ImageError
from dcss.ext2.fsck.check import check_image
from dcss.ext2.fsck.context import MAX_PROBLEMS
from dcss.ext2.source import BufferSource


class Patient:
    """An image to be damaged; inodes are found by path."""

    def __init__(self, image: Path) -> None:
        self.data = bytearray(image.read_bytes())
        self.numbers = {path: inode.number for path, inode in Read(image).inodes.items()}
        self.blocks = {path: inode.block_pointers for path, inode in Read(image).inodes.items()}

    def inode(self, path: bytes, **fields: Any) -> None:
        table = GroupDesc._make(GROUP_DESC.unpack_from(self.data, 4096)).bg_inode_table * 4096
        at = table + (self.numbers[path] - 1) * 128
        RAW_INODE.pack_into(self.data, at, *RawInode._make(RAW_INODE.unpack_from(self.data, at))._replace(**fields))

    def pointer(self, path: bytes, number: int, block: int) -> None:
        table = GroupDesc._make(GROUP_DESC.unpack_from(self.data, 4096)).bg_inode_table * 4096
        struct.pack_into("<I", self.data, table + (self.numbers[path] - 1) * 128 + 40 + 4 * number, block)

    def superblock(self, **fields: Any) -> None:
        found = Superblock._make(SUPERBLOCK.unpack_from(self.data, SUPERBLOCK_OFFSET))
        SUPERBLOCK.pack_into(self.data, SUPERBLOCK_OFFSET, *found._replace(**fields))

    def group(self, **fields: Any) -> None:
        GROUP_DESC.pack_into(
            self.data, 4096, *GroupDesc._make(GROUP_DESC.unpack_from(self.data, 4096))._replace(**fields)
        )

    def entry(self, directory: bytes, name: bytes) -> int:
        """Return the offset of a directory entry."""
        start = self.blocks[directory][0] * 4096
        at = self.data.find(name, start)
        assert start < at < start + 4096
        return at - 8

    def said(self) -> list[str]:
        return [
            f"{problem.kind} {problem.where}: {problem.detail}"
            for problem in check_image(BufferSource(self.data)).problems
        ]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    root = tmp_path / "tree"
    (root / "dir/inner").mkdir(parents=True)
    (root / "file").write_bytes(b"f" * 9000)
    (root / "other").write_bytes(b"o" * 9000)
    (root / "big").write_bytes(b"B" * (20 * 4096))
    (root / "link").symlink_to("target")
    (root / "slow").symlink_to("s" * 100)
    build(root, tmp_path / "x.img")
    return Patient(tmp_path / "x.img")


def test_a_new_image_is_clean(patient: Patient) -> None:
    result = check_image(BufferSource(patient.data))
    assert result.clean
    assert result.inodes == 10  # with the one for bad blocks
    assert result.blocks == len(patient.data) // 4096


def test_a_block_used_twice(patient: Patient) -> None:
    patient.pointer(b"/other", 0, patient.blocks[b"/file"][0])
    said = patient.said()
    block, first, second = patient.blocks[b"/file"][0], patient.numbers[b"/file"], patient.numbers[b"/other"]
    assert f"blocks block {block}: found in use by inode {first} and by inode {second}, wanted one owner" in said
    assert any("bits that say in use but free" in line for line in said)


def test_data_in_the_inode_table(patient: Patient) -> None:
    patient.pointer(b"/other", 1, 4)
    assert any("found in use by group 0's inode table and by inode" in line for line in patient.said())


def test_a_pointer_off_the_device(patient: Patient) -> None:
    patient.pointer(b"/file", 0, 10**6)
    assert any(f"inode {patient.numbers[b'/file']}: i_block[0]: found block 1000000" in line for line in patient.said())


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"i_blocks": 8}, "i_blocks: found 8, wanted 24 for 3 blocks"),
        ({"i_size": 100}, "i_size: found 100, wanted over 8192: its blocks"),
        ({"i_links_count": 2}, "i_links_count: found 2, wanted 1"),
        ({"i_mode": 0o160000}, "i_mode: found 0o160000, wanted the type of a file"),
        ({"i_dtime": 5}, "i_dtime: found 5, wanted 0: it has links"),
        ({"i_faddr": 7}, "i_faddr: found 7, wanted 0"),
        ({"i_file_acl": 10**6}, "i_file_acl: found block 1000000"),
        ({"i_links_count": 0, "i_mode": 0}, "found inode {number}, wanted one that is in use"),
        ({"i_mode": 0o120777}, "wanted 7"),
    ],
)
def test_an_inode_field(patient: Patient, fields: dict[str, int], wanted: str) -> None:
    patient.inode(b"/file", **fields)
    wanted = wanted.format(number=patient.numbers[b"/file"])
    assert any(wanted in line for line in patient.said())


def test_links_and_sizes(patient: Patient) -> None:
    patient.inode(b"/link", i_size=5)
    patient.inode(b"/slow", i_size=101)
    patient.inode(b"/dir", i_size=8192)
    said = patient.said()
    # A fast link's target ends where i_size says, so a short one is seen by the NUL that does not follow it.
    assert any(f"inode {patient.numbers[b'/slow']}: i_size: found 101, wanted 100" in line for line in said)
    assert any(
        f"inode {patient.numbers[b'/dir']}: i_size: found 8192, wanted 4096: its blocks" in line for line in said
    )


def test_directory_entries(patient: Patient) -> None:
    at = patient.entry(b"/", b"file")
    patient.data[at + 7] = 2
    assert any("entry b'file': found file type 2, wanted 1" in line for line in patient.said())
    patient.data[at + 7] = 1
    patient.data[at + 8 : at + 12] = b"link"
    assert any("found the name b'link' twice" in line for line in patient.said())
    patient.data[at + 8 : at + 12] = b"file"
    struct.pack_into("<I", patient.data, at, 7)
    assert any("found inode 7, wanted one that is in use" in line for line in patient.said())


def test_dot_and_dotdot(patient: Patient) -> None:
    start = patient.blocks[b"/dir/inner"][0] * 4096
    number = patient.numbers[b"/dir/inner"]
    struct.pack_into("<I", patient.data, start, 2)
    assert any(
        f"directory inode {number}: entry '.': found inode 2, wanted {number}" in line for line in patient.said()
    )
    struct.pack_into("<I", patient.data, start, number)
    struct.pack_into("<I", patient.data, start + 12, 2)
    wanted = f"entry '..': found inode 2, wanted {patient.numbers[b'/dir']}"
    assert any(wanted in line for line in patient.said())
    patient.data[start + 8] = ord("x")
    assert any("entry 0: found b'x', wanted b'.'" in line for line in patient.said())


def test_what_hangs_in_the_air(patient: Patient) -> None:
    at = patient.entry(b"/", b"dir")
    struct.pack_into("<I", patient.data, at, 0)
    said = patient.said()
    for path in (b"/dir", b"/dir/inner"):
        assert any(f"inode {patient.numbers[path]}: found" in line and "no way from the root" in line for line in said)


def test_a_directory_in_itself_is_seen_and_ends(patient: Patient) -> None:
    struct.pack_into("<I", patient.data, patient.entry(b"/dir", b"inner"), patient.numbers[b"/dir"])
    said = patient.said()
    assert any(f"found it in directories [2, {patient.numbers[b'/dir']}], wanted one" in line for line in said)


def test_directories_that_share_blocks_are_read_once(patient: Patient) -> None:
    patient.pointer(b"/dir/inner", 0, patient.blocks[b"/dir"][0])
    assert any("that another directory has" in line for line in patient.said())


def test_indirect_blocks_that_two_files_share_are_followed_once(patient: Patient) -> None:
    indirect = patient.blocks[b"/big"][12]
    assert indirect
    patient.pointer(b"/file", 12, indirect)
    assert any(f"block {indirect}: found in use by inode" in line for line in patient.said())


def test_an_indirect_block_that_points_to_itself_ends(patient: Patient) -> None:
    indirect = patient.blocks[b"/big"][12]
    patient.pointer(b"/big", 13, indirect)
    struct.pack_into("<1024I", patient.data, indirect * 4096, *[indirect] * 1024)
    assert not check_image(BufferSource(patient.data)).clean


def test_bitmaps_and_counts(patient: Patient) -> None:
    descriptor = GroupDesc._make(GROUP_DESC.unpack_from(patient.data, 4096))
    patient.data[descriptor.bg_block_bitmap * 4096] &= 0xFE
    patient.data[descriptor.bg_inode_bitmap * 4096 + 1] ^= 0x02
    patient.group(bg_free_blocks_count=7, bg_free_inodes_count=9, bg_used_dirs_count=1)
    patient.superblock(s_free_blocks_count=1, s_free_inodes_count=2)
    said = patient.said()
    assert "bitmap group 0's block bitmap: found 1 bits that say free but in use, the lowest 0 after block 0" in said
    assert "bitmap group 0's inode bitmap: found 1 bits that say free but in use, the lowest 9 after inode 1" in said
    assert any("bg_free_blocks_count: found 7, wanted 0" in line for line in said)
    assert any("bg_free_inodes_count: found 9" in line for line in said)
    assert any("bg_used_dirs_count: found 1, wanted 4" in line for line in said)
    assert any("superblock: s_free_blocks_count: found 1, wanted 0" in line for line in said)


def test_padding_of_bitmaps(patient: Patient) -> None:
    descriptor = GroupDesc._make(GROUP_DESC.unpack_from(patient.data, 4096))
    patient.data[descriptor.bg_block_bitmap * 4096 + 4095] = 0
    assert any("found 8 bits that say free but in use" in line for line in patient.said())


def test_descriptors_and_superblock(patient: Patient) -> None:
    patient.group(bg_inode_table=10**6)
    assert any("bg_inode_table: found block 1000000" in line for line in patient.said())
    patient.superblock(s_inodes_per_group=0)
    assert patient.said()[0].startswith("superblock superblock: ")


def test_an_image_cut_short(patient: Patient) -> None:
    blocks = len(patient.data) // 4096
    del patient.data[-4096:]
    wanted = f"superblock superblock: s_blocks_count: found {blocks}, wanted at most {blocks - 1}: the image's end"
    assert patient.said()[0] == wanted


def test_many_findings_are_counted_not_kept(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for number in range(MAX_PROBLEMS + 50):
        (root / str(number)).write_bytes(b"")
    build(root, tmp_path / "x.img")
    patient = Patient(tmp_path / "x.img")
    for path in patient.numbers:
        if path not in (b"/", b"/lost+found"):
            patient.inode(path, i_links_count=3)
    result = check_image(BufferSource(patient.data))
    assert len(result.problems) == MAX_PROBLEMS
    assert result.suppressed == 50


def test_what_cannot_be_judged_is_an_error(patient: Patient) -> None:
    for fields, wanted in (
        ({"s_magic": 0x1234}, "s_magic at byte 1080: found 0x1234, wanted 0xef53"),
        ({"s_feature_incompat": 0x42}, r"unsupported optional features \(40\)"),
        ({"s_feature_ro_compat": 0x200}, "it has BIGALLOC"),
    ):
        patient.superblock(**fields)
        with pytest.raises(ImageError, match=wanted):
            check_image(BufferSource(patient.data))
        patient.superblock(s_magic=0xEF53, s_feature_incompat=2, s_feature_ro_compat=3)
    with pytest.raises(ImageError, match="read outside the device"):
        check_image(BufferSource(b"tiny"))

"""Files that are no ext2 images: what they are is recognized, and the message says what to do."""

import gzip
import lzma
from collections.abc import Callable
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from ext2_support import e2fs
from image_support import build, opened_image
from partition_support import gpt, mbr

from dcss.abi.ext2 import MAGIC, SUPERBLOCK
from dcss.config.sources import Ext2Source, TarSource
from dcss.errors import ImageError
from dcss.ext2.source import BufferSource
from dcss.host.partitions import Partition, PartitionTable, partition_table
from dcss.image.build import plan_image
from dcss.image.foreign import foreign_content, has_ext2_at
from dcss.image.sources.kind import source_of
from dcss.image.superblock import file_system_bytes, read, superblock_at

SIZE_BYTES = 1 << 20
PATH = Path("disk.img")


def made(path: Path, *options: str) -> bytes:
    e2fs("mke2fs", "-q", "-F", "-t", "ext2", *options, path, "512k")
    return path.read_bytes()


def with_bytes(*pieces: tuple[int, bytes], size_bytes: int = SIZE_BYTES) -> bytearray:
    content = bytearray(size_bytes)
    for offset, piece in pieces:
        content[offset : offset + len(piece)] = piece
    return content


def found_in(content: bytes | bytearray, base: int = 0) -> str:
    return str(foreign_content(BufferSource(bytes(content)), PATH, base))


@pytest.mark.parametrize(
    ("offset", "magic", "name", "advice"),
    [
        (0, b"\x1f\x8b\x08", "gzip", "gunzip -k disk.img"),
        (0, b"\xfd7zXZ\0", "xz", "unxz -k disk.img"),
        (0, b"\x28\xb5\x2f\xfd", "zstd", "unzstd disk.img"),
        (0, b"BZh9", "bzip2", "bunzip2 -k disk.img"),
        (0, b"QFI\xfb", "qcow2", "qemu-img convert -O raw disk.img"),
        (0, b"KDMV", "VMDK", "qemu-img convert -O raw disk.img"),
        (0, b"# Disk DescriptorFile\n", "VMDK", "qemu-img convert -O raw disk.img"),
        (0x40, b"\x7f\x10\xda\xbe", "VDI", "qemu-img convert -O raw disk.img"),
        (0, b"vhdxfile", "VHDX", "qemu-img convert -O raw disk.img"),
        (0, b"conectix", "VHD", "qemu-img convert -O raw disk.img"),
        (0, b"hsqs", "squashfs", "unsquashfs disk.img"),
        (32769, b"CD001", "ISO 9660", "dcss image build"),
        (0, b"LUKS\xba\xbe", "LUKS", "cryptsetup open disk.img"),
        (512, b"LABELONE", "LVM", "vgchange -ay"),
        (0, b"XFSB", "XFS", "dcss image build"),
        (0x10040, b"_BHRfS_M", "btrfs", "dcss image build"),
        (4086, b"SWAPSPACE2", "swap", "no files"),
        (65526, b"SWAPSPACE2", "swap", "no files"),
    ],
)
def test_formats_are_named_with_what_to_do(offset: int, magic: bytes, name: str, advice: str) -> None:
    message = found_in(with_bytes((offset, magic)))
    assert name in message.partition(", wanted an ext2 image: ")[0]
    assert advice in message.partition(", wanted an ext2 image: ")[2]
    assert name in found_in(with_bytes((offset, magic), size_bytes=offset + len(magic))), "nothing behind it"


def test_unknown_and_short_content_is_not_recognized() -> None:
    for content in (b"\0", b"\x1f", bytes(SIZE_BYTES), b"text\n" * 1000):
        assert found_in(content) == "None"


def test_names_are_quoted_for_the_shell() -> None:
    found = foreign_content(BufferSource(b"\x1f\x8b"), Path("a b.img"))
    assert found is not None
    assert "gunzip -k 'a b.img'" in found.advice


@pytest.mark.parametrize("options", [[], ["-b", "1024"], ["-b", "4096"], ["-r", "0", "-O", "none"]])
@pytest.mark.parametrize("offset", [512, 1024, 2048, 63 * 512, 1 << 20])
def test_a_file_system_at_another_offset_is_found(options: list[str], offset: int, tmp_path: Path) -> None:
    content = bytes(offset) + made(tmp_path / "fs.img", *options)
    assert f"found an ext2 file system at byte {offset}, " in found_in(content)
    assert f"--offset {offset + 4096}," in found_in(content, base=4096)


def test_a_copy_of_a_superblock_is_no_file_system(tmp_path: Path) -> None:
    image = bytearray(made(tmp_path / "fs.img", "-b", "1024", "-g", "256"))
    image[1024:2048] = bytes(1024)
    assert found_in(image) == "None"


def test_an_ext2_image_with_an_old_partition_table_is_ext2(tmp_path: Path) -> None:
    image = made(tmp_path / "fs.img")
    assert found_in(mbr((0x83, 1, 99)) + image[512:]) == "None"


@pytest.mark.parametrize("kind", ["MBR", "logical", "GPT", "GPT of 4096"])
def test_partitions_that_hold_ext2_are_offered(kind: str, tmp_path: Path) -> None:
    image = made(tmp_path / "fs.img")
    tables: dict[str, tuple[tuple[int, bytes], ...]] = {
        "MBR": ((0, mbr((0x0C, 64, 8), (0x83, 256, 1024))),),
        "logical": (
            (0, mbr((0x0C, 64, 8), (0x0F, 100, 2000))),
            (100 * 512, mbr((0x0C, 8, 8), (0x05, 50, 1200))),
            (150 * 512, mbr((0x83, 106, 1024))),
        ),
        "GPT": gpt(512, (64, 8), (256, 1024)),
        "GPT of 4096": gpt(4096, (8, 1), (32, 128)),
    }
    message = found_in(with_bytes(*tables[kind], (131072, image)))
    assert message.startswith(f"found a partition table ({kind[:3] if kind != 'logical' else 'MBR'}), wanted")
    assert "map --offset 131072, or in YAML offset: 131072 beside ext2:" in message


@pytest.mark.parametrize("base", [0, 4096])
def test_of_several_partitions_with_ext2_the_first_is_offered(base: int, tmp_path: Path) -> None:
    image = made(tmp_path / "fs.img")
    table = mbr((0x0C, 64, 8), (0x83, 256, 1024), (0x83, 1280, 1024), (0x83, 2304, 1024))
    pieces = ((0, table), (256 * 512, image), (1280 * 512, image), (2304 * 512, image))
    content = with_bytes(*pieces, size_bytes=2 << 20)
    found = foreign_content(BufferSource(bytes(content)), PATH, base)
    assert found is not None
    offsets = tuple(base + sector * 512 for sector in (256, 1280, 2304))
    assert found.offsets == offsets
    assert found.advice == (
        f"give image ls, cat, check or map --offset {offsets[0]}, or in YAML offset: {offsets[0]} beside ext2:"
        f" (others with ext2: {offsets[1]}, {offsets[2]})"
    )
    content[1280 * 512 :] = bytes(len(content) - 1280 * 512)
    found = foreign_content(BufferSource(bytes(content)), PATH, base)
    assert found is not None
    assert found.advice.endswith("beside ext2:")
    assert (found.compressed, found.offsets) == (False, offsets[:1])


def test_what_is_compressed_is_marked() -> None:
    for magic, compressed in ((b"\x1f\x8b", True), (b"BZh", True), (b"QFI\xfb", False)):
        found = foreign_content(BufferSource(magic), PATH)
        assert found is not None
        assert (found.compressed, found.offsets) == (compressed, ())


@pytest.mark.parametrize(
    ("field", "possible", "impossible"),
    [
        ("s_rev_level", (0, 1), (2,)),
        ("s_block_group_nr", (0,), (1,)),
        ("s_first_data_block", (0, 1), (2,)),
        ("s_free_blocks_count", (0, 512), (513,)),
        ("s_blocks_per_group", (1, 8192), (0, 8193)),
        ("s_inodes_per_group", (1, 8192), (0, 8193)),
        ("s_log_block_size", (0, 6), (7,)),
        ("s_magic", (MAGIC,), (MAGIC + 1,)),
    ],
)
def test_a_superblock_is_plausible_or_none(
    field: str, possible: tuple[int, ...], impossible: tuple[int, ...], tmp_path: Path
) -> None:
    image = bytearray(made(tmp_path / "fs.img", "-b", "1024"))
    superblock = superblock_at(BufferSource(bytes(image)))
    assert superblock is not None
    assert superblock.s_blocks_count == 512
    assert file_system_bytes(superblock) == len(image)
    for value, plausible in [*((each, True) for each in possible), *((each, False) for each in impossible)]:
        changed: dict[str, Any] = {field: value}
        image[1024:2048] = SUPERBLOCK.pack(*superblock._replace(**changed)).ljust(1024, b"\0")
        assert has_ext2_at(BufferSource(bytes(image)), 0) is plausible
    assert superblock_at(BufferSource(bytes(image[: 1024 + SUPERBLOCK.size - 1]))) is None


def test_data_begins_before_the_end(tmp_path: Path) -> None:
    superblock = superblock_at(BufferSource(made(tmp_path / "fs.img", "-b", "1024")))
    assert superblock is not None
    for blocks, plausible in ((0, False), (1, False), (2, True)):
        small = superblock._replace(s_blocks_count=blocks, s_free_blocks_count=0)
        assert has_ext2_at(BufferSource(bytes(1024) + SUPERBLOCK.pack(*small)), 0) is plausible


def table_of(*pieces: tuple[int, bytes]) -> PartitionTable | None:
    return partition_table(partial(read, BufferSource(bytes(with_bytes(*pieces)))))


def first_bytes(*pieces: tuple[int, bytes]) -> tuple[str, tuple[int, ...]] | None:
    found = table_of(*pieces)
    return None if found is None else (found.kind, tuple(partition.first_byte for partition in found.partitions))


def test_partitions_of_a_table() -> None:
    assert first_bytes((0, mbr((0x83, 1, 1), (0, 5, 5), (0x83, 0, 5), (0x83, 5, 0)))) == ("MBR", (512,))
    assert first_bytes((0, mbr((0xEE, 1, 99), (0x83, 7, 9)))) == ("MBR", (3584,))
    assert first_bytes((0, mbr())) is None
    for status, found in ((0, ("MBR", (512,))), (0x80, ("MBR", (512,))), (1, None), (0x81, None)):
        table = bytearray(mbr((0x83, 1, 1)))
        table[446] = status
        assert first_bytes((0, bytes(table))) == found
    assert first_bytes((0, mbr((0x83, 1, 1))[:511] + b"\xab")) is None


def test_partitions_have_the_sizes_of_their_tables() -> None:
    logical = (100 * 512, mbr((0x83, 2, 50)))
    assert table_of((0, mbr((0x83, 1, 3), (0x05, 100, 900))), logical) == (
        "MBR",
        (Partition(512, 3 * 512), Partition(102 * 512, 50 * 512)),
    )
    assert table_of(*gpt(512, (64, 1), (70, 9))) == ("GPT", (Partition(32768, 512), Partition(35840, 4608)))
    assert table_of(*gpt(4096, (64, 2))) == ("GPT", (Partition(262144, 8192),))


def test_logical_partitions_lie_by_their_own_table() -> None:
    outer = mbr((0x0C, 8, 8), (0x85, 100, 900))
    inner = (100 * 512, mbr((0x83, 2, 50), (0x0F, 200, 80)))
    last = (300 * 512, mbr((0x83, 3, 50)))
    assert first_bytes((0, outer), inner, last) == ("MBR", (8 * 512, 102 * 512, 303 * 512))
    third = (100 * 512, mbr((0x83, 2, 50), (0, 0, 0), (0x83, 5, 5)))  # only two entries count
    assert first_bytes((0, outer), third) == ("MBR", (8 * 512, 102 * 512))
    nothing = (100 * 512, mbr((0x83, 2, 0), (0x83, 0, 2)))
    assert first_bytes((0, outer), nothing) == ("MBR", (8 * 512,))


def test_entries_of_a_gpt() -> None:
    def table(entries: bytes, sector: int = 3, count: int = 128, entry_size_bytes: int = 128) -> object:
        header = b"EFI PART" + bytes(64) + pack("<Q2I", sector, count, entry_size_bytes)
        return first_bytes((512, header), (sector * 512, entries))

    def entry(first: int, last: int, kind: int = 7) -> bytes:
        return bytes([kind]) * 32 + pack("<2Q80x", first, last)

    assert table(entry(9, 9) + entry(30, 29) + entry(40, 41, kind=0) + entry(50, 60)) == ("GPT", (4608, 25600))
    assert table(entry(9, 9) + entry(10, 10), count=1) == ("GPT", (4608,))
    assert table(entry(9, 9)[:48] + entry(10, 10)[:48], entry_size_bytes=48) == ("GPT", (4608, 5120))
    assert table(entry(9, 9), entry_size_bytes=512) == ("GPT", (4608,))
    for entry_size_bytes in (47, 513):
        assert table(entry(9, 9), entry_size_bytes=entry_size_bytes) is None
    many = b"".join(entry(number, number) for number in range(1, 200))
    assert table(many, count=4000) == ("GPT", tuple(number * 512 for number in range(1, 129)))
    # Entries go on behind the end of the disk.
    assert table(entry(9, 9), sector=SIZE_BYTES // 512 - 1, count=128) == ("GPT", (4608,))


def test_partitions_without_ext2_are_listed() -> None:
    message = found_in(with_bytes((0, mbr((0x83, 64, 8), (0x82, 128, 8)))))
    assert "at bytes 32768, 65536, hold no ext2" in message


def test_logical_partitions_in_a_circle_end() -> None:
    circle = (0, mbr((0x0F, 100, 2000))), (100 * 512, mbr((0x0C, 8, 8), (0x05, 0xFFFFFFFF, 9)))
    assert "partition table (MBR)" in found_in(with_bytes(*circle))
    back = mbr((0x0C, 8, 8), (0x05, 1, 9))
    loop = (0, mbr((0x0F, 100, 2000))), (100 * 512, back), (101 * 512, back)
    assert "partition table (MBR)" in found_in(with_bytes(*loop))


@pytest.mark.parametrize("pack_up", [gzip.compress, lzma.compress])
def test_a_packed_image_is_no_source_and_a_packed_tar_is(pack_up: Callable[[bytes], bytes], tmp_path: Path) -> None:
    packed = tmp_path / "x.img.packed"
    packed.write_bytes(pack_up(made(tmp_path / "fs.img")))
    for refuse in (lambda: source_of(packed), lambda: plan_image(Ext2Source(packed))):
        with pytest.raises(
            ImageError, match=r"x.img.packed: found (gzip|xz) data, wanted an ext2 image: unpack it first"
        ):
            refuse()
    packed.write_bytes(pack_up(bytes(10240)))
    assert source_of(packed) == TarSource(packed)


def test_every_way_in_recognizes_a_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(with_bytes((0, mbr((0x83, 256, 1024))), (131072, made(tmp_path / "fs.img"))))
    for refuse in (lambda: source_of(disk), lambda: plan_image(Ext2Source(disk)), opened_image(disk).__enter__):
        with pytest.raises(ImageError, match=r"disk.img: found a partition table .* --offset 131072"):
            refuse()


def test_a_file_system_at_an_offset_is_read_and_ends_where_its_superblock_says(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(131072) + made(tmp_path / "fs.img") + b"rest" * 1000)
    with opened_image(disk, 131072) as opened:
        assert opened.source.size_bytes == 512 << 10
        assert [entry.name for entry in opened.volume.entries(opened.volume.root())] == [b".", b"..", b"lost+found"]
    with pytest.raises(ImageError, match=r"ends before byte 9999999"), opened_image(disk, 9999999):
        pass
    with pytest.raises(ImageError, match=r"--offset 131072"), opened_image(disk, 65536):
        pass


def test_a_ready_image_at_an_offset_is_copied_alone(tmp_path: Path) -> None:
    image = made(tmp_path / "fs.img")
    disk = tmp_path / "disk.img"
    for before in (b"x" * 4096, bytes(1 << 20), b"x" * 512):
        disk.write_bytes(before + image + b"rest" * 10000)
        build(Ext2Source(disk, len(before)), tmp_path / "out.img")
        assert (tmp_path / "out.img").read_bytes() == image
    with pytest.raises(ImageError, match=r"--offset 512,"):
        plan_image(Ext2Source(disk, 0))
    with pytest.raises(ImageError, match=r"magic missing at offset 99001080"):
        plan_image(Ext2Source(disk, 99_000_000))

from errno import ENAMETOOLONG, ENOTDIR

import pytest
from ext2_support import CountingSource, TinyImage, entries_block, entry

from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2 import dir as directories
from dcss.ext2.volume import Volume


def root_of(block: bytes, image: TinyImage | None = None) -> TinyImage:
    image = image or TinyImage()
    image.write(image.directory(2, {b".": 2}), block)
    return image


def listing(image: TinyImage) -> list[tuple[int, int, bytes]]:
    volume = image.volume()
    return [(found[0], found[1], found[2]) for found in volume.entries(volume.root())]


def test_entries_in_the_order_they_lie_in() -> None:
    block = entry(2, b".", file_type=2) + entry(2, b"..", file_type=2) + entry(12, b"a" * 255, file_type=1)
    block += entry(0, b"gone") + entry(13, b"\xff\n", rec_len=1024 - len(block) - 12, file_type=7)
    assert listing(root_of(block)) == [(2, 2, b"."), (2, 2, b".."), (12, 1, b"a" * 255), (13, 7, b"\xff\n")]


def test_without_filetype_the_type_is_unknown() -> None:
    image = root_of(entry(2, b".", rec_len=1024, file_type=9))
    assert listing(image) == [(2, 9, b".")]
    image.superblock(s_feature_incompat=0)
    assert listing(image) == [(2, 0, b".")]


def test_an_index_of_hashes_is_read_as_linear() -> None:
    # As dir_index has it: the root of the index hides behind "..", an inner node is one unused entry.
    image = TinyImage()
    first, second, third = image.allocate(3), 0, 0
    second, third = first + 1, first + 2
    image.inode(2, i_size=3072, pointers=(first, second, third), i_flags=0x1000)
    image.write(first, entry(2, b".") + entry(2, b"..", rec_len=1012) + b"\x99" * 1000)
    image.write(second, entry(0, b"", rec_len=1024, name_len=0) + b"\x99" * 1000)
    image.write(third, entries_block({b"x": 12, b"y": 13}, 1024))
    assert [name for _, _, name in listing(image)] == [b".", b"..", b"x", b"y"]


BAD = [
    (
        entry(12, b"a", rec_len=0),
        "rec_len is smaller than minimal: found offset=12, inode=12, rec_len=0, name_len=1, wanted at least 12",
    ),
    (entry(12, b"a", rec_len=8), "rec_len is smaller than minimal: found offset=12"),
    (entry(12, b"a", rec_len=18), "unaligned directory entry: found offset=12, inode=12, rec_len=18"),
    (
        entry(12, b"abcde", rec_len=12),
        "rec_len is too small for name_len: found offset=12, .*name_len=5, wanted a rec_len of at least 13",
    ),
    (entry(12, b"a", rec_len=1016), "directory entry across blocks: found .*, wanted a rec_len of at most 1012"),
    (entry(65, b"a", rec_len=1012), "inode out of bounds: found .*inode=65.* wanted an inode of at most 64"),
    (entry(0, b"", rec_len=0, name_len=0), "rec_len is smaller than minimal"),
    (entry(66, b"", rec_len=1012, name_len=0), "inode out of bounds"),
    (entry(12, b"a", rec_len=1004), "entries end at offset: found 1016, wanted 1024"),
    (entry(12, b"a", rec_len=1008), "entries end at offset: found 1020, wanted 1024"),
    (entry(12, b"", rec_len=1012, name_len=0), "name: found b''"),
    (entry(12, b"a/b", rec_len=1012), "name: found b'a/b'"),
    (entry(12, b"a\0b", rec_len=1012), "name: found"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_the_kernels_checks_of_an_entry(bad: bytes, message: str) -> None:
    image = root_of(entry(2, b".") + bad[:1012])
    volume = image.volume()
    root = volume.root()
    found = volume.entries(root)
    assert next(found).name == b"."
    with pytest.raises(Ext2FormatError, match=message) as caught:
        list(found)
    assert "#2" in str(caught.value) or "inode 2" in str(caught.value)
    with pytest.raises(Ext2FormatError, match=message):
        volume.lookup(root, b"nothing")


def test_holes_odd_sizes_and_blocks_met_twice() -> None:
    image = TinyImage()
    block = image.directory(2, {b".": 2, b"..": 2})
    for fields, pointers, message in (
        ({"i_size": 2048}, (block, 0), "directory inode 2: file block 1: found a hole, wanted a block"),
        ({"i_size": 2048}, (block, block), "i_block: found block .* twice, wanted each block once"),
        ({"i_size": 1025}, (block, 0), "i_size: found 1025, wanted a multiple of 1024 bytes"),
        ({"i_size": 0xFFFFFC00}, (block, 0), "file block 1: found a hole"),
    ):
        image.inode(2, pointers=pointers, **fields)
        with pytest.raises(Ext2FormatError, match=message):
            listing(image)


def test_not_a_directory() -> None:
    image = TinyImage()
    image.file(12, b"x")
    volume = image.volume()
    for read in (lambda: list(volume.entries(volume.inode(12))), lambda: volume.lookup(volume.inode(12), b"x")):
        with pytest.raises(KernelError) as caught:
            read()
        assert caught.value.errno == ENOTDIR


def many(count: int, block_size: int = 4096) -> tuple[TinyImage, dict[bytes, int]]:
    """A root of `count` names, and names with their inodes."""
    image = TinyImage(block_size=block_size, blocks=1024, inodes=4096)
    names = {b"name-%d" % i: 11 + i % 4000 for i in range(count)}
    blocks, at = [], 0
    packed = [entry(number, name) for name, number in names.items()]
    while at < len(packed):
        end, used = at, 0
        while end < len(packed) and used + len(packed[end]) <= block_size:
            used += len(packed[end])
            end += 1
        last = list(names.items())[end - 1]
        blocks.append(
            b"".join(packed[at : end - 1]) + entry(last[1], last[0], rec_len=block_size - used + len(packed[end - 1]))
        )
        at = end
    start = image.allocate(len(blocks) + 1)
    image.write(start, b"".join(blocks))
    image.pointers(start + len(blocks), {i: start + 12 + i for i in range(len(blocks) - 12)})
    pointers = (*range(start, start + min(12, len(blocks))), *[0] * (12 - len(blocks)), start + len(blocks))
    image.inode(2, i_size=len(blocks) * block_size, pointers=pointers)
    return image, names


def test_lookups_in_a_large_directory_agree_with_its_entries() -> None:
    image, names = many(6000)
    volume = image.volume()
    root = volume.root()
    assert {found.name: found.inode for found in volume.entries(root)} == names
    assert {name: volume.lookup(root, name) for name in names} == names
    assert [volume.lookup(root, name) for name in (b"name-", b"name-60000", b"", b"NAME-1")] == [None] * 4


def test_names_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "crc32", lambda _name: 77)
    image, names = many(40)
    volume = image.volume()
    assert {name: volume.lookup(volume.root(), name) for name in names} == names
    assert volume.lookup(volume.root(), b"other") is None


def test_a_second_lookup_reads_a_few_bytes() -> None:
    image, _ = many(3000)
    source = CountingSource(image.data)
    volume = Volume.mount(source)
    assert volume.lookup(volume.root(), b"name-5") == 16
    source.reads.clear()
    assert volume.lookup(volume.root(), b"name-2777") == 2788
    assert sum(length for _, length in source.reads) < 64
    source.reads.clear()
    assert volume.lookup(volume.root(), b"name-2777") == 2788
    assert source.reads == []


def test_a_directory_too_large_for_an_index_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "INDEX_BYTES", 1000)
    image, names = many(700)
    volume = image.volume()
    for name in (b"name-0", b"name-699", b"name-350"):
        assert volume.lookup(volume.root(), name) == names[name]
    assert volume.lookup(volume.root(), b"nothing") is None
    assert volume.tables.indexes._bytes == 0


def test_indexes_stay_under_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "INDEX_BYTES", 1000)
    image = TinyImage()
    for number in range(12, 30):
        image.directory(number, {b".": number, b"..": 2, b"self": number})
    volume = image.volume()
    for _ in range(2):
        for number in range(12, 30):
            assert volume.lookup(volume.inode(number), b"self") == number
            assert volume.tables.indexes._bytes <= 1000
            assert (
                sum(len(index) * 8 + 256 for index in volume.tables.indexes._indexes.values())
                == volume.tables.indexes._bytes
            )
    assert list(volume.tables.indexes._indexes) == [27, 28, 29]
    assert volume.lookup(volume.inode(27), b"..") == 2
    assert volume.lookup(volume.inode(12), b"..") == 2
    assert list(volume.tables.indexes._indexes) == [29, 27, 12]


def test_a_name_that_went_since_the_index_was_made_is_not_found() -> None:
    image, _ = many(300)
    volume = image.volume()
    root = volume.root()
    assert volume.lookup(root, b"name-1") == 12
    at = image.data.index(b"name-200")
    image.data[at : at + 8] = b"name-xyz"
    assert volume.lookup(root, b"name-200") is None
    assert volume.lookup(root, b"name-xyz") is None
    volume.invalidate()
    assert volume.lookup(volume.root(), b"name-xyz") == 211
    assert volume.lookup(volume.root(), b"name-202") == 213
    for changed in (b"name-xyz", b"name-203"):
        at = image.data.index(changed)
        image.data[at - 8 : at - 4] = bytes(4)
    assert volume.lookup(volume.root(), b"name-203") is None
    volume.invalidate()
    assert volume.lookup(volume.root(), b"name-xyz") is None


def test_a_name_longer_than_any() -> None:
    volume = TinyImage().volume()
    assert volume.lookup(volume.root(), b"n" * 255) is None
    with pytest.raises(KernelError) as caught:
        volume.lookup(volume.root(), b"n" * 256)
    assert caught.value.errno == ENAMETOOLONG


def test_an_empty_directory_file_has_no_entries() -> None:
    image = TinyImage()
    image.directory(12, {b".": 12})
    image.inode(12, i_size=0)
    volume = image.volume()
    assert list(volume.entries(volume.inode(12))) == []
    assert volume.lookup(volume.inode(12), b"x") is None

"""Which pages of a disk image are data of files: as our ext2 reader has it, as mke2fs says, and of any damage."""

import os
import random
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs_support import needs, tool
from partition_support import gpt, mbr

from dcss.abi.ext2 import NDIR_BLOCKS, TIND_BLOCK
from dcss.abi.page import PAGE_SIZE
from dcss.image.file_source import FileSource
from dcss.image.files import image_files
from dcss.inspect.image_data import own_runs

SIZES = (1, PAGE_SIZE, 12 * PAGE_SIZE + 1, 1100 * PAGE_SIZE)  # direct, indirect and double indirect blocks
PAGES = 4096


@contextmanager
def opened(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("image")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


@cache
def image(kind: str) -> bytes:
    """Make an image of files of `SIZES`, and of a directory and a link beside them."""
    with tempfile.TemporaryDirectory() as name:
        tree, path = Path(name, "tree"), Path(name, "image")
        (tree / "directory").mkdir(parents=True)
        (tree / "link").symlink_to("x" * 200)
        for size in SIZES:
            (tree / "directory" / f"file{size}").write_bytes(random.Random(size).randbytes(size))
        path.touch()
        os.truncate(path, PAGES * PAGE_SIZE)
        words = ["-q", "-t", kind, "-b", str(PAGE_SIZE), "-d", str(tree), str(path)]
        subprocess.run([tool("mke2fs") or "mke2fs", *words], check=True)
        return path.read_bytes()


def data_pages(content: bytes) -> set[int]:
    pages = -(-len(content) // PAGE_SIZE)
    with opened(content) as descriptor:
        own = {page for first, count in own_runs(descriptor, pages) for page in range(first, first + count)}
    return set(range(pages)) - own


def disk(*pieces: tuple[int, bytes], pages: int) -> bytes:
    """Return a disk of so many pages with pieces at their offsets."""
    content = bytearray(pages * PAGE_SIZE)
    for offset, piece in pieces:
        content[offset : offset + len(piece)] = piece
    return bytes(content)


@needs("mke2fs")
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_the_pages_of_files_are_found_and_no_others(kind: str) -> None:
    content = image(kind)
    found = data_pages(content)
    pages = {content[page * PAGE_SIZE : (page + 1) * PAGE_SIZE] for page in found}
    wanted = [random.Random(size).randbytes(size) for size in SIZES]
    whole = [
        file[start : start + PAGE_SIZE].ljust(PAGE_SIZE, b"\0")
        for file in wanted
        for start in range(0, len(file), PAGE_SIZE)
    ]
    assert len(found) == len(whole)
    assert pages == set(whole)


@needs("mke2fs")
def test_the_ext2_reader_finds_the_same() -> None:
    with opened(image("ext2")) as descriptor:
        files = image_files(FileSource(descriptor)).files
    runs = [(first, count) for file in files for _, first, count in file.runs]
    assert data_pages(image("ext2")) == {page for first, count in runs for page in range(first, first + count)}


def test_what_is_no_image_has_no_pages_of_its_own() -> None:
    for content in (b"", b"\0" * 2048, random.Random(1).randbytes(PAGE_SIZE * 4)):
        with opened(content) as descriptor:
            assert own_runs(descriptor, -(-len(content) // PAGE_SIZE)) == ()


@needs("mke2fs")
@pytest.mark.parametrize("kind", ["MBR", "logical", "GPT", "GPT of 4096"])
def test_file_systems_in_partitions_are_read(kind: str) -> None:
    first, second, sectors = 256, 256 + PAGES, PAGES * 8  # pages of the partitions' begin; the size in sectors
    tables: dict[str, tuple[tuple[int, bytes], ...]] = {
        "MBR": ((0, mbr((0x83, first * 8, sectors), (0x83, second * 8, sectors))),),
        "logical": (
            (0, mbr((0x83, first * 8, sectors), (0x0F, 64, 3 * sectors))),
            (64 * 512, mbr((0x83, second * 8 - 64, sectors))),
        ),
        "GPT": gpt(512, (first * 8, sectors), (second * 8, sectors)),
        "GPT of 4096": gpt(4096, (first, PAGES), (second, PAGES)),
    }
    pieces = ((first * PAGE_SIZE, image("ext4")), (second * PAGE_SIZE, image("ext2")))
    wanted = {first + page for page in data_pages(image("ext4"))} | {
        second + page for page in data_pages(image("ext2"))
    }
    assert data_pages(disk(*tables[kind], *pieces, pages=second + PAGES + 64)) == wanted


@needs("mke2fs")
def test_a_partition_with_something_else_may_be_full_of_data() -> None:
    for start_sector, size_sectors, pages in ((16, 16, {2, 3}), (17, 1, {2}), (23, 2, {2, 3}), (8 * 6000, 99, set())):
        table = mbr((0x83, 256 * 8, PAGES * 8), (0x83, start_sector, size_sectors))
        content = disk((0, table), (256 * PAGE_SIZE, image("ext4")), pages=256 + PAGES)
        assert data_pages(content) == pages | {256 + page for page in data_pages(image("ext4"))}
    alone = disk((0, mbr((0x83, 16, 16))), pages=64)
    assert data_pages(alone) == set(range(64)), "no file system that can be read: it is no such image"


@needs("mke2fs")
def test_a_partition_that_does_not_begin_with_a_page_is_not_read() -> None:
    content = disk((0, mbr((0x83, 63, PAGES * 8))), (63 * 512, image("ext4")), pages=PAGES + 8)
    assert data_pages(content) == set(range(PAGES + 8))


@needs("mke2fs")
@given(
    partitions=st.lists(
        st.tuples(st.sampled_from([0x83, 0x05, 0xEE]), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF)),
        max_size=4,
    ),
    sectors=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
)
def test_no_partition_table_leads_out_of_the_disk(
    partitions: list[tuple[int, int, int]], sectors: tuple[int, int]
) -> None:
    _, header, (entries, _) = gpt(512, (1, 1))
    entry = bytes([7]) * 32 + struct.pack("<2Q", *sectors)
    piece = (256 * PAGE_SIZE, image("ext4")[: 80 * PAGE_SIZE])
    for table in (((0, mbr(*partitions)),), (header, (entries, entry))):
        with opened(disk(*table, piece, pages=400)) as descriptor:
            assert all(0 <= first < first + count <= 400 for first, count in own_runs(descriptor, 400))


@needs("mke2fs")
@given(
    kind=st.sampled_from(["ext2", "ext4"]),
    damage=st.lists(st.tuples(st.integers(0, 80 * PAGE_SIZE), st.binary(min_size=1, max_size=8)), max_size=12),
    length=st.integers(1, PAGES),
)
def test_no_damage_leads_out_of_the_image(kind: str, damage: list[tuple[int, bytes]], length: int) -> None:
    content = bytearray(image(kind)[: length * PAGE_SIZE])
    for place, change in damage:
        content[place : place + len(change)] = change
    with opened(bytes(content)) as descriptor:
        runs = own_runs(descriptor, length)
    assert all(0 <= first < first + count <= length for first, count in runs)


@needs("mke2fs")
def test_pointers_in_a_circle_are_followed_once() -> None:
    content = bytearray(image("ext2"))
    with opened(bytes(content)) as descriptor:
        runs = [run for file in image_files(FileSource(descriptor)).files for run in file.runs if run[2] >= NDIR_BLOCKS]
    _, first, _ = runs[0]
    pointers = content.index(struct.pack("<12I", *range(first, first + NDIR_BLOCKS)))
    struct.pack_into("<I", content, pointers + 4 * TIND_BLOCK, first)
    content[first * PAGE_SIZE : (first + 1) * PAGE_SIZE] = struct.pack("<I", first) * (PAGE_SIZE // 4)
    assert first in data_pages(bytes(content))

"""The checker on images damaged at random: it always ends, with findings or with ImageError, and never otherwise."""

import os
import struct
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from image_support import Read, build

from dcss.errors import Ext2FormatError, ImageError, KernelError
from dcss.ext2.fsck.check import check_image
from dcss.ext2.fsck.context import MAX_PROBLEMS
from dcss.ext2.source import BufferSource
from dcss.image.files import image_files
from dcss.image.map import map_image

MOST_TIMES = 600  # the CPU time that the same looks at the image without a fault take: what loops takes for ever


@cache
def pristine() -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "tree")
        (root / "dir/inner").mkdir(parents=True)
        for number in range(200):
            (root / "dir" / f"name {number}").write_bytes(b"x" * number * 50)
        (root / "big").write_bytes(b"B" * (1200 * 4096))
        (root / "slow").symlink_to("s" * 100)
        os.setxattr(root / "big", "user.a", b"v" * 100)
        build(root, Path(scratch, "x.img"))
        return Path(scratch, "x.img").read_bytes()


WORDS = st.sampled_from([0, 1, 2, 3, 7, 11, 12, 13, 40, 100, 0xFFFF, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF])
# Superblock, descriptors, bitmaps, inode table, directories: the first blocks, where damage matters.
PLACES = st.one_of(st.integers(1024, 1024 + 400), st.integers(4096, 4096 + 40), st.integers(8192, 30 * 4096))
CHANGES = st.lists(
    st.tuples(PLACES, st.one_of(WORDS, st.integers(0, 2**32 - 1)), st.sampled_from([1, 2, 4])), min_size=1, max_size=12
)


@cache
def pristine_seconds() -> float:
    return seconds_to_look(pristine())


def within_time(image: bytes) -> None:
    assert seconds_to_look(image) < MOST_TIMES * pristine_seconds()


def seconds_to_look(image: bytes) -> float:
    """Look at an image in each way; return the CPU time that it took."""
    began = time.process_time()
    try:
        result = check_image(BufferSource(image))
    except ImageError:
        pass
    else:
        assert len(result.problems) <= MAX_PROBLEMS
    for look in (image_files, lambda source: map_image(source, Path("x.img"))):
        with suppress(Ext2FormatError, ImageError, KernelError):
            look(BufferSource(image))
    return time.process_time() - began


@given(CHANGES)
def test_words_changed_at_random(changes: list[tuple[int, int, int]]) -> None:
    image = bytearray(pristine())
    for place, word, width in changes:
        image[place : place + width] = struct.pack("<I", word)[:width]
    within_time(bytes(image))


@given(st.integers(0, 60), st.integers(0, 60))
def test_blocks_put_in_place_of_others(first: int, second: int) -> None:
    image = bytearray(pristine())
    image[first * 4096 : (first + 1) * 4096] = pristine()[second * 4096 : (second + 1) * 4096]
    within_time(bytes(image))


@given(st.integers(0, 200))
def test_images_cut_short(blocks: int) -> None:
    within_time(pristine()[: blocks * 4096 + blocks * 7])


@given(st.integers(0, 2**32 - 1), st.integers(0, 1023), st.integers(1, 1024))
def test_indirect_blocks_full_of_anything(word: int, start: int, count: int) -> None:
    image = bytearray(pristine())
    first = _first_indirect()
    at = image.find(struct.pack("<3I", first, first + 1, first + 2))
    end = min(start + count, 1024)
    image[at + 4 * start : at + 4 * end] = struct.pack("<I", word) * (end - start)
    within_time(bytes(image))


@cache
def _first_indirect() -> int:
    """Return the block that the first pointer of the big file's indirect block names."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pristine())
        file.flush()
        read = Read(Path(file.name))
    return int(read.runs[b"/big"][0].disk_block) + 12

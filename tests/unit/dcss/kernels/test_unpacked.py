"""The kernel in an image: wherever it is packed there, and by whatever method."""

import gzip
import lzma
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from dcss.errors import ImageError
from dcss.kernels.unpacked import unpacked_kernel

KERNEL = random.Random(3).randbytes(1 << 20)
DECOMPRESSOR = b"S390EP" + b"\x1f\x8b\x08 is how gzip begins, and \xfd7zXZ\0 xz" + bytes(100)


@pytest.mark.parametrize("packed_by", [gzip.compress, lzma.compress])
def test_a_packed_kernel_is_found_behind_what_only_looks_like_one(
    packed_by: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(DECOMPRESSOR + packed_by(KERNEL) + b"more")
    assert unpacked_kernel(image) == KERNEL


def test_segments_of_an_elf_file_lie_by_their_physical_addresses(tmp_path: Path) -> None:
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    first = struct.pack("<IIQQQQQQ", 1, 5, 4096, 0x8100_0000, 0x100_0000, 8192, 8192, 4096)
    second = struct.pack("<IIQQQQQQ", 1, 6, 12288, 0, 0x100_4000, 4096, 65536, 4096)
    file = (head + first + second).ljust(4096, b"\0") + KERNEL
    image = tmp_path / "bzImage"
    image.write_bytes(DECOMPRESSOR + gzip.compress(file))
    assert unpacked_kernel(image) == KERNEL[:8192] + bytes(8192) + KERNEL[8192:12288]


def test_what_holds_nothing_packed_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(DECOMPRESSOR)
    with pytest.raises(ImageError, match="found nothing packed, wanted a kernel packed by gzip"):
        unpacked_kernel(image)
    with pytest.raises(ImageError, match="cannot be read"):
        unpacked_kernel(tmp_path / "nosuch")

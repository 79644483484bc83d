"""A kernel is unpacked once, whoever asks for it, and the cache does not grow for ever."""

import gzip
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcss.abi.page import PAGE_SIZE
from dcss.account.maps import read_maps
from dcss.errors import ImageError
from dcss.kernels import unpacked_file as module
from dcss.kernels.unpacked import unpacked_kernel
from dcss.kernels.unpacked_file import unpacked_file

KERNEL = random.Random(4).randbytes((1 << 20) + 100)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/dcss/kernels/unpacked"


def image_of(path: Path, content: bytes) -> Path:
    path.write_bytes(b"S390EP" + gzip.compress(content, 1))
    return path


def test_all_machines_of_a_kernel_have_one_file_in_common(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[Path] = []

    def unpack(image: Path) -> bytes:
        unpacked.append(image)
        return unpacked_kernel(image)

    monkeypatch.setattr(module, "unpacked_kernel", unpack)
    images = [image_of(tmp_path / name, KERNEL) for name in ("a", "b")]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(unpacked_file, images * 2))
    assert len(unpacked) == 1, "the same bytes under another name are the same kernel"
    for each in found:
        assert each[:] == KERNEL.ljust(257 * PAGE_SIZE, b"\0")
    (kept,) = cache.iterdir()
    mappings = [vma for vma in read_maps(os.getpid()) if vma.path == bytes(kept)]
    assert [vma.permissions for vma in mappings] == ["r--s"] * 4, "pages of the file's, none of our own"


def test_what_was_used_longest_ago_goes(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 2)
    images = [image_of(tmp_path / str(number), KERNEL + bytes([number])) for number in range(3)]
    first = unpacked_file(images[0])
    (oldest,) = cache.iterdir()
    for image in images[1:]:
        unpacked_file(image)
    assert len(list(cache.iterdir())) == 2
    assert not oldest.exists()
    assert first[:100] == KERNEL[:100], "who has it mapped keeps it"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.parent.chmod(0o700)
    cache.parent.write_bytes(b"")
    with pytest.raises(ImageError, match=r"cannot be kept in the cache, unpacked: .*Not a directory|File exists"):
        unpacked_file(image_of(tmp_path / "a", KERNEL))
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        unpacked_file(tmp_path / "nosuch")

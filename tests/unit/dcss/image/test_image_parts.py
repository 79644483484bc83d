"""An image that is written in parts, one for each segment that it lies over, is the same as one written whole."""

import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from image_support import build

from dcss.abi.page import PAGE_SIZE
from dcss.config.sources import DirectorySource, Ext2Source, ImageSource, TarSource
from dcss.image.build import plan_image

MIB = 1 << 20
LARGE = b"".join(number.to_bytes(8, "little") for number in range(3 * MIB // 8))


def directory(home: Path) -> ImageSource:
    tree = home / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "large").write_bytes(LARGE)
    for number in range(40):
        (tree / "sub" / f"file{number}").write_bytes(bytes([number]) * 5000)
    with (tree / "holes").open("wb") as file:
        file.write(b"head")
        file.truncate(8 * MIB)
        file.seek(6 * MIB)
        file.write(LARGE[: 5 * PAGE_SIZE])
    return DirectorySource(tree)


def packed(home: Path) -> ImageSource:
    directory(home)
    with tarfile.open(home / "tree.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(home / "tree", "/")
    return TarSource(home / "tree.tar.gz")


def ready(home: Path) -> ImageSource:
    directory(home)
    build(home / "tree", home / "ready.img")
    return Ext2Source(home / "ready.img")


def written(source: ImageSource, home: Path, sizes_bytes: Sequence[int], progress: Callable[[int], None]) -> bytes:
    """Return the parts of an image, each as a file of its own has it."""
    plan = plan_image(source, size_bytes=sum(sizes_bytes))
    content = b""
    for number, part in enumerate(plan.parts(sizes_bytes)):
        assert part.size_bytes == sizes_bytes[number]
        descriptor = os.open(home / f"part{number}", os.O_RDWR | os.O_CREAT)
        try:
            part.write(descriptor, progress)
        finally:
            os.close(descriptor)
        content += (home / f"part{number}").read_bytes()
    return content


@pytest.mark.parametrize("source_of", [directory, packed, ready])
@pytest.mark.parametrize("border_pages", [1, 100, 517, 1024])
def test_the_parts_are_the_image(tmp_path: Path, source_of: Callable[[Path], ImageSource], border_pages: int) -> None:
    source = source_of(tmp_path)
    size_bytes = 16 * MIB
    whole = plan_image(source, size_bytes=size_bytes)
    descriptor = os.open(tmp_path / "whole", os.O_RDWR | os.O_CREAT)
    whole.write(descriptor)
    os.close(descriptor)
    border = border_pages * PAGE_SIZE
    reported: list[int] = []
    content = written(source, tmp_path, (border, MIB, size_bytes - border - MIB), reported.append)
    assert content == (tmp_path / "whole").read_bytes()
    assert sum(reported) == whole.content_bytes


def test_each_part_tells_what_it_copies_and_the_first_one_of_files(tmp_path: Path) -> None:
    plan = plan_image(directory(tmp_path), size_bytes=8 * MIB)
    sizes_bytes = (2 * MIB, 6 * MIB)
    parts = list(plan.parts(sizes_bytes))
    assert sum(part.content_bytes for part in parts) == plan.content_bytes
    assert all(0 < part.content_bytes < plan.content_bytes for part in parts)
    assert [part.files for part in parts] == [42, None]

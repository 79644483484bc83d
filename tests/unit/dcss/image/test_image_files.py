from pathlib import Path

import pytest
from image_support import build, run_tool
from needs_support import needs

from dcss.errors import Ext2FormatError
from dcss.ext2.source import BufferSource
from dcss.image.files import FileExtents, image_files, why_no_files


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a").write_bytes(b"a" * 5000)
    (root / "b").hardlink_to(root / "a")
    (root / "empty").write_bytes(b"")
    with (root / "sparse").open("wb") as file:
        file.seek(3 * 4096)
        file.write(b"x")
    (root / "link").symlink_to("a")
    build(root, tmp_path / "x.img")
    return (tmp_path / "x.img").read_bytes()


def test_each_inode_once_with_its_pages_and_without_holes(image: bytes) -> None:
    files = {file.path: file for file in image_files(BufferSource(image))}
    assert sorted(files) == [b"/a", b"/empty", b"/sparse"]
    a = files[b"/a"]
    ((file_page, segment_page, pages),) = a.runs
    assert (file_page, pages, a.size_bytes) == (0, 2, 5000)
    assert image[segment_page * 4096 :][:5000] == b"a" * 5000
    assert files[b"/empty"].runs == ()
    ((file_page, segment_page, pages),) = files[b"/sparse"].runs
    assert (file_page, pages, image[segment_page * 4096]) == (3, 1, ord("x"))
    assert isinstance(a, FileExtents)
    assert why_no_files(BufferSource(image)) is None


def test_what_is_no_ext2_has_no_files_and_a_reason() -> None:
    assert image_files(BufferSource(bytes(1 << 16))) == []
    assert "s_magic at byte 1080: found 0x0000, wanted 0xef53" in str(why_no_files(BufferSource(bytes(1 << 16))))
    assert image_files(BufferSource(b"short")) == []


@needs("mke2fs")
def test_blocks_that_are_no_pages_have_no_files_and_a_reason(tmp_path: Path) -> None:
    run_tool("mke2fs", "-q", "-b", "1024", tmp_path / "x.img", "200")
    image = (tmp_path / "x.img").read_bytes()
    assert image_files(BufferSource(image)) == []
    assert why_no_files(BufferSource(image)) == "has blocks of 1024 bytes: execute-in-place needs blocks of 4096"


def test_damage_is_an_error_not_an_empty_list(image: bytes) -> None:
    damaged = image.replace(b"sparse", b"spa\0se", 1)
    with pytest.raises(Ext2FormatError):
        image_files(BufferSource(damaged))

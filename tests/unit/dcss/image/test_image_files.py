from pathlib import Path

import pytest
from image_support import build, run_tool
from needs_support import needs

from dcss.ext2.source import BufferSource
from dcss.image.files import FileExtents, ImageFiles, image_files


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
    files = {file.path: file for file in image_files(BufferSource(image)).files}
    assert sorted(files) == [b"/a", b"/empty", b"/sparse"]
    a = files[b"/a"]
    ((file_page, segment_page, pages),) = a.runs
    assert (file_page, pages, a.size_bytes) == (0, 2, 5000)
    assert image[segment_page * 4096 :][:5000] == b"a" * 5000
    assert files[b"/empty"].runs == ()
    ((file_page, segment_page, pages),) = files[b"/sparse"].runs
    assert (file_page, pages, image[segment_page * 4096]) == (3, 1, ord("x"))
    assert isinstance(a, FileExtents)


def test_what_is_no_ext2_has_no_files() -> None:
    assert image_files(BufferSource(bytes(1 << 16))) == ImageFiles()
    assert image_files(BufferSource(b"short")) == ImageFiles()


@needs("mke2fs")
def test_blocks_that_are_no_pages_have_no_files(tmp_path: Path) -> None:
    run_tool("mke2fs", "-q", "-b", "1024", tmp_path / "x.img", "200")
    assert image_files(BufferSource((tmp_path / "x.img").read_bytes())) == ImageFiles()


@needs("mke2fs", "debugfs")
@pytest.mark.parametrize(
    ("command", "lost", "said"),
    [
        ("clri /d/one", {b"/d/one"}, "/d/one: "),
        ("set_inode_field /d/one block[0] 999999999", {b"/d/one"}, "/d/one: "),
        ("set_inode_field /d block[0] 999999999", {b"/d/one", b"/d/two"}, "/d: "),
        ("set_inode_field /d mode 0100644", {b"/d/one", b"/d/two"}, None),
        ("clri /d", {b"/d/one", b"/d/two"}, "/d: "),
        ("link /d /d/loop", set(), None),
    ],
)
def test_damage_costs_what_it_concerns(tmp_path: Path, command: str, lost: set[bytes], said: str | None) -> None:
    directory = tmp_path / "tree/d"
    directory.mkdir(parents=True)
    for name in ("one", "two"):
        (directory / name).write_bytes(name.encode() * 3000)
    (tmp_path / "tree/whole").write_bytes(b"whole" * 3000)
    image = tmp_path / "x.img"
    build(tmp_path / "tree", image)
    run_tool("debugfs", "-w", "-R", command, image)
    found = image_files(BufferSource(image.read_bytes()))
    assert {file.path for file in found.files if file.runs} - {b"/d"} == {b"/whole", b"/d/one", b"/d/two"} - lost
    assert [line[: len(said)] for line in found.damage] == [said] if said else found.damage == ()

import mmap
import os
from pathlib import Path

import pytest
from image_support import build, run_tool
from needs_support import needs

from dcss.errors import ImageError
from dcss.ext2.mkfs.layout import LARGE_BYTES
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from dcss.image.map import HUGE_PAGE_BYTES, ImageMap, map_document, map_image
from dcss.report.blocks import Block
from dcss.report.image_view import file_blocks, picture, summary
from dcss.report.layout import render_block
from dcss.report.style import Style


def mapped(tmp_path: Path, address: int = 0, image_address: int = 0) -> ImageMap:
    root = tmp_path / "tree"
    root.mkdir(exist_ok=True)
    (root / "big").write_bytes(b"b" * (5 * HUGE_PAGE_BYTES // 2 + 1))
    (root / "mid").write_bytes(b"m" * (1 << 20))
    (root / "small").write_bytes(b"s" * 5000)
    with (root / "sparse").open("wb") as file:
        file.write(b"x")
        file.seek(10 * 4096)
        file.write(b"y")
        file.truncate(20 * 4096)
    build(root, tmp_path / "x.img", address=image_address)
    return map_image(BufferSource((tmp_path / "x.img").read_bytes()), tmp_path / "x.img", address)


def text(blocks: list[Block]) -> list[str]:
    return [line for block in blocks for line in render_block(block, Style())]


@pytest.mark.parametrize("address", [0, 0x20000000, 0x20001000])
def test_what_the_builder_aligned_huge_pages_map(tmp_path: Path, address: int) -> None:
    image = mapped(tmp_path, address, address)
    files = {file.path: file for file in image.files}
    big = files[b"/big"]
    assert (len(big.runs), big.mappings, big.aligned, big.huge_bytes) == (1, 1, True, 2 * HUGE_PAGE_BYTES)
    assert big.slack_bytes == 4095
    assert files[b"/mid"].aligned
    assert files[b"/mid"].huge_bytes == 0
    # x, a hole, y, a hole
    assert (len(files[b"/sparse"].runs), files[b"/sparse"].mappings) == (2, 4)
    data_bytes = sum(file.data_bytes for file in image.files)
    assert image.huge_share == 2 * HUGE_PAGE_BYTES / data_bytes


def test_a_stretch_in_the_middle_of_a_sparse_file_is_huge_where_it_fills_whole_pages(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree/odd").open("wb") as file:
        file.seek(HUGE_PAGE_BYTES // 2)
        file.write(b"o" * (2 * HUGE_PAGE_BYTES))  # half a huge page, a whole one, half a one
    (file_map,) = mapped(tmp_path).files[2:3]
    assert file_map.path == b"/odd"
    assert (len(file_map.runs), file_map.mappings, file_map.aligned, file_map.huge_bytes) == (
        1,
        2,
        True,
        HUGE_PAGE_BYTES,
    )


def test_at_another_address_nothing_is_huge(tmp_path: Path) -> None:
    image = mapped(tmp_path, 4096)
    assert image.huge_share == 0
    assert not {file.path: file for file in image.files}[b"/big"].aligned


def test_stretches_cover_the_image_without_overlap(tmp_path: Path) -> None:
    image = mapped(tmp_path, 0x1000)
    at = 0
    for stretch in image.stretches:
        assert stretch.first_byte == at
        at += stretch.size_bytes
    assert at == image.size_bytes
    assert sum(file.data_bytes for file in image.files) == image.total_bytes("huge", "large", "small")
    assert image.total_bytes("free") > 0
    assert image.total_bytes("metadata") >= 5 * 4096


def test_the_picture_has_a_row_for_each_two_megabytes_of_address(tmp_path: Path) -> None:
    image = mapped(tmp_path, 0x20000000, 0x20000000)
    rows = text([picture(image)])
    assert [row.split()[0] for row in rows] == [f"{0x20000000 + n * HUGE_PAGE_BYTES:#014x}" for n in range(len(rows))]
    assert any(row.endswith("#" * 64) for row in rows)
    assert rows[0].split()[1].startswith("M")
    shifted = text([picture(mapped(tmp_path, 0x20100000, 0x20100000))])
    assert shifted[0].startswith("0x000020000000 " + " " * 32)


def test_words_and_json_say_the_same(tmp_path: Path) -> None:
    image = mapped(tmp_path)
    table = text(file_blocks(image, 2))
    assert table[1].split()[:4] == ["/big", "5.0", "MiB", "1"]
    assert table[-1] == "and 2 smaller ones (--all shows them)"
    assert len(text(file_blocks(image, None))) == 5
    form = map_document(image)
    lines = list(summary(image))
    assert lines[1] == "4 files with data, 5 runs, 7 mappings, 1.75 a file"
    assert f"{form['huge_share']:.1%} of it in whole pages of 2 MiB" in lines[2]
    assert {os.fsencode(file["path"]) for file in form["files"]} == {file.path for file in image.files}


def test_a_file_without_data_has_no_slack(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "empty").write_bytes(b"")
    with (root / "hole").open("wb") as file:
        file.truncate(5000)
    (root / "page").write_bytes(b"p" * 4096)
    (root / "rest").write_bytes(b"r" * 4097)
    build(root, tmp_path / "x.img")
    image = map_image(BufferSource((tmp_path / "x.img").read_bytes()), tmp_path / "x.img", 0x20000000)
    files = {file.path: file for file in image.files}
    assert {path: (file.slack_bytes, file.data_bytes, file.mappings) for path, file in files.items()} == {
        b"/empty": (0, 0, 0),
        b"/hole": (0, 0, 1),
        b"/page": (0, 4096, 1),
        b"/rest": (4095, 8192, 1),
    }
    form = map_document(image)
    assert [
        form[key] for key in ("address", "size_bytes", "metadata_bytes", "free_bytes", "huge_share", "borders")
    ] == [
        0x20000000,
        image.size_bytes,
        image.total_bytes("metadata"),
        image.total_bytes("free"),
        0.0,
        [],
    ]
    rest = files[b"/rest"]
    assert form["files"][-1] == {
        "path": "/rest",
        "inode": rest.inode,
        "size_bytes": 4097,
        "data_bytes": 8192,
        "slack_bytes": 4095,
        "runs": [[0, rest.runs[0].disk_block, 2]],
        "mappings": 1,
        "huge_bytes": 0,
        "aligned": False,
    }


def test_what_of_files_is_large_small_and_huge(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for name, size_bytes in (("less", LARGE_BYTES - 1), ("large", LARGE_BYTES), ("huge", HUGE_PAGE_BYTES + 1)):
        (root / name).write_bytes(b"x" * size_bytes)
    build(root, tmp_path / "x.img")
    image = map_image(BufferSource((tmp_path / "x.img").read_bytes()), tmp_path)
    contents: dict[bytes | None, list[tuple[str, int]]] = {}
    for stretch in image.stretches:
        contents.setdefault(stretch.file, []).append((stretch.content, stretch.size_bytes))
    assert contents[b"/less"] == [("small", LARGE_BYTES)]
    assert contents[b"/large"] == [("large", LARGE_BYTES)]
    assert contents[b"/huge"] == [("huge", HUGE_PAGE_BYTES), ("large", 4096)]
    assert {content for content, _ in contents[None]} == {"metadata", "free"}


def test_a_run_is_cut_where_a_segment_ends(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "file").write_bytes(b"f" * (10 * 4096))
    build(root, tmp_path / "x.img")
    source = BufferSource((tmp_path / "x.img").read_bytes())
    (whole,) = map_image(source, tmp_path).files
    (run,) = whole.runs
    first, end = run.disk_block, run.disk_block + 10
    for borders, pieces in (
        ([first], [(0, first, 10)]),
        ([end], [(0, first, 10)]),
        ([first + 1], [(0, first, 1), (1, first + 1, 9)]),
        ([first + 9], [(0, first, 9), (9, first + 9, 1)]),
        ([0, first + 3, first + 5, end + 1], [(0, first, 3), (3, first + 3, 2), (5, first + 5, 5)]),
    ):
        image = map_image(source, tmp_path, borders=[block * 4096 for block in borders])
        (file,) = image.files
        assert [tuple(piece) for piece in file.pieces] == pieces
        assert (file.runs, file.mappings, image.borders) == (
            (run,),
            len(pieces),
            tuple(block * 4096 for block in borders),
        )


def test_an_image_without_data(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    build(tmp_path / "tree", tmp_path / "x.img")
    image = map_image(BufferSource((tmp_path / "x.img").read_bytes()), tmp_path / "x.img")
    assert image.huge_share is None
    assert list(summary(image))[1] == "0 files with data, 0 runs, 0 mappings"


@needs("mke2fs")
def test_blocks_that_are_no_pages_are_refused(tmp_path: Path) -> None:
    run_tool("mke2fs", "-q", "-b", "2048", tmp_path / "x.img", "200")
    with pytest.raises(ImageError, match=r"x\.img has blocks of 2048 bytes: only blocks of 4096 map"):
        map_image(BufferSource((tmp_path / "x.img").read_bytes()), tmp_path / "x.img")
    with pytest.raises(ImageError, match="address 0x10: wanted a multiple of 4096"):
        map_image(BufferSource(b""), tmp_path, 16)


@needs("mke2fs")
def test_what_is_free_in_every_group(tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    run_tool("mke2fs", "-q", "-F", "-t", "ext2", "-b", "4096", "-g", "1024", "-O", "^resize_inode", image, "16M")
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped_file:
        source = BufferSource(mapped_file)
        shown = map_image(source, image, 0)
        free = [stretch for stretch in shown.stretches if stretch.content == "free"]
        assert sum(stretch.size_bytes for stretch in free) == Volume.mount(source).superblock.s_free_blocks_count * 4096
        groups = {stretch.first_byte // (1024 * 4096) for stretch in free}
        assert groups == {0, 1, 2, 3}
        source.close()

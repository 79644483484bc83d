import os
import stat
from pathlib import Path

import pytest

from dcss.config.sources import DirectorySource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import DataRun, TreeDirectory, TreeFile, TreeSpecial, TreeSymlink
from dcss.image.sources.directory import read_directory
from dcss.image.sources.host import HostFile, data_runs, lstat, read_node


def node(path: Path) -> object:
    raw = os.fsencode(path)
    return read_node(raw, lstat(raw))


def test_holes_are_found(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"a" * 4096)
        file.seek(1 << 20)
        file.write(b"b" * 5000)
        file.truncate(2 << 20)
    found = node(path)
    assert isinstance(found, TreeFile)
    assert found.data == (DataRun(0, 0, 4096), DataRun(1 << 20, 1 << 20, 8192))
    assert found.size_bytes == 2 << 20


def test_a_file_that_is_one_hole_and_an_empty_one_have_no_data(tmp_path: Path) -> None:
    for size in (0, 4096, 1 << 20):
        path = tmp_path / str(size)
        path.write_bytes(b"")
        os.truncate(path, size)
        found = node(path)
        assert isinstance(found, TreeFile)
        assert found.data == ()


def test_blocks_of_attributes_are_not_taken_for_data(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    os.truncate(path, 100)
    for number in range(10):  # more than an inode holds, where attributes may stand in a block of their own
        os.setxattr(path, f"user.{number}", b"v" * 200)
    found = node(path)
    assert isinstance(found, TreeFile)
    assert found.data == ()
    assert len(found.attributes.xattrs) >= 10


def test_special_files_and_links(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o640)
    (tmp_path / "link").symlink_to("to/nothing")
    fifo, link = node(tmp_path / "fifo"), node(tmp_path / "link")
    assert isinstance(fifo, TreeSpecial)
    assert stat.S_ISFIFO(fifo.attributes.mode)
    assert isinstance(link, TreeSymlink)
    assert link.target == b"to/nothing"


def test_a_changed_file_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    found = path.stat()
    store = HostFile(os.fsencode(path), found.st_size, found.st_mtime_ns)
    os.close(store.open())
    path.write_bytes(b"123456")
    with pytest.raises(ImageError, match=r"/x changed while the image was made: found 6 bytes .* planned 5 bytes"):
        store.open()
    path.unlink()
    with pytest.raises(ImageError, match="/x cannot be read: No such file"):
        store.open()


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"1" * 9000)
    found = path.stat()
    with pytest.raises(ImageError, match="secret/x cannot be read: Not a directory"):
        data_runs(HostFile(os.fsencode(path) + b"/x", found.st_size, found.st_mtime_ns))


def test_a_directory_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    raw = os.fsencode(tmp_path) + b"/d/\xff\xfe name"
    Path(os.fsdecode(raw)).write_bytes(b"1")
    (tmp_path / "hard").hardlink_to(os.fsdecode(raw))
    root = read_directory(DirectorySource(tmp_path)).root
    inner = root.entries[b"d"]
    assert isinstance(inner, TreeDirectory)
    assert inner.entries[b"\xff\xfe name"] is root.entries[b"hard"]


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(ImageError, match="found a file, wanted a directory"):
        read_directory(DirectorySource(tmp_path / "f"))
    with pytest.raises(ImageError, match="gone cannot be made into an image: No such file"):
        read_directory(DirectorySource(tmp_path / "gone"))

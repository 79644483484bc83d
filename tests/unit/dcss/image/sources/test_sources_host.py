import errno
import os
import stat
from pathlib import Path

import pytest
from cp_support import open_descriptors

from dcss.config.sources import DirectorySource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import DataRun, TreeDirectory, TreeFile, TreeSpecial, TreeSymlink
from dcss.image.sources.directory import read_directory
from dcss.image.sources.host import HostFile, data_runs, lstat, open_for_reading, read_node


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


def test_an_empty_file_is_opened_only_where_it_may_be_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")

    def deny(path: bytes) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("dcss.image.sources.host.open_regular", deny)
    found = node(path)
    assert isinstance(found, TreeFile)
    assert found.data == ()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ImageError, match="/empty cannot be read: Permission denied"):
        node(path)


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


@pytest.mark.parametrize("call", ["listxattr", "getxattr"])
@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES, errno.EIO, errno.ERANGE])
def test_attributes_that_a_file_has_not_or_this_user_may_not_see_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Any other error would lose what the file has."""
    path = tmp_path / "x"
    path.write_bytes(b"x")

    def refuse(found: bytes, *names: str, follow_symlinks: bool) -> bytes:
        assert (found, follow_symlinks) == (os.fsencode(path), False)
        if names == ("user.seen",):
            return b"value"
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["user.seen", "user.hidden"])
    monkeypatch.setattr(os, call, refuse)
    if number in {errno.EIO, errno.ERANGE}:
        what = "extended attributes" if call == "listxattr" else "extended attribute user.hidden"
        with pytest.raises(ImageError, match=f"{path} does not show its {what}: {os.strerror(number)}"):
            node(path)
        return
    found = node(path)
    assert isinstance(found, TreeFile)
    assert found.attributes.xattrs == (() if call == "listxattr" else ((b"user.seen", b"value"),))


def test_attributes_are_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["user.b", "user.a"])
    monkeypatch.setattr(os, "getxattr", lambda _, name, **__: name[-1:].encode())
    found = node(path)
    assert isinstance(found, TreeFile)
    assert found.attributes.xattrs == ((b"user.a", b"a"), (b"user.b", b"b"))


def test_times_before_1970_are_rounded_down(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    for time_ns, wanted in ((1_999_999_999, 1), (-1, -1), (-1_000_000_001, -2)):
        os.utime(path, ns=(time_ns, time_ns))
        found = node(path)
        assert isinstance(found, TreeFile)
        assert found.attributes.mtime_s == wanted


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 10)
    os.utime(path, ns=(5, 5))
    os.close(HostFile(os.fsencode(path), 10, 5).open())
    before = open_descriptors()
    for size_bytes, mtime_ns in ((9, 5), (10, 4), (11, 6)):
        with pytest.raises(
            ImageError, match=f"found 10 bytes and mtime 5 ns, planned {size_bytes} bytes and {mtime_ns}"
        ):
            HostFile(os.fsencode(path), size_bytes, mtime_ns).open()
    assert open_descriptors() == before


@pytest.mark.parametrize("number", [errno.EIO, errno.ENXIO])
def test_a_file_that_cannot_be_searched_for_holes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 9000)
    seek = os.lseek

    def fail(descriptor: int, offset: int, whence: int) -> int:
        if whence == os.SEEK_HOLE and offset == 0:
            return 4096
        if offset >= 4096:
            raise OSError(number, os.strerror(number))
        return seek(descriptor, offset, whence)

    monkeypatch.setattr(os, "lseek", fail)
    store = HostFile(os.fsencode(path), 9000, path.stat().st_mtime_ns)
    if number == errno.EIO:
        with pytest.raises(ImageError, match="cannot be searched for holes: Input/output error"):
            data_runs(store)
    else:  # nothing but a hole from there on
        monkeypatch.setattr(os, "lseek", lambda d, o, w: 4096 if w == os.SEEK_HOLE else fail(d, o, w))
        assert data_runs(store) == (DataRun(0, 0, 4096),)


def test_a_directory_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    scan = os.scandir

    def refuse(path: bytes) -> object:
        if path.endswith(b"/sub"):
            raise OSError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match=f"^{tmp_path}/sub cannot be listed: Permission denied"):
        read_directory(DirectorySource(tmp_path))


def test_what_is_not_there_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=f"^{tmp_path}/none cannot be looked at: No such file or directory"):
        lstat(os.fsencode(tmp_path / "none"))
    with pytest.raises(ImageError, match=f"^{tmp_path}/none cannot be read: No such file or directory"):
        open_for_reading(os.fsencode(tmp_path / "none"))
    (tmp_path / "link").symlink_to("to")
    found = lstat(os.fsencode(tmp_path / "link"))
    (tmp_path / "link").unlink()
    monkeypatch.setattr(os, "listxattr", lambda *_, **__: [])
    with pytest.raises(ImageError, match=f"^{tmp_path}/link cannot be read as a link: No such file or directory"):
        read_node(os.fsencode(tmp_path / "link"), found)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"^{tmp_path}/none cannot be made into an image: No such file"):
        read_directory(DirectorySource(tmp_path / "none"))


def test_hard_links_are_one_node_each(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / f"{name}2").hardlink_to(tmp_path / name)
    (tmp_path / "c").write_bytes(b"c")
    entries = read_directory(DirectorySource(tmp_path)).root.entries
    assert entries[b"a"] is entries[b"a2"]
    assert entries[b"b"] is entries[b"b2"]
    assert len({id(node) for node in entries.values()}) == 3

"""Sources that are no files: nothing waits for a FIFO, and reading ends when whoever wants the image is gone."""

import asyncio
import io
import os
import socket
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dcss.config.sources import DirectorySource, Ext2Source, ImageSource, TarSource
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile
from dcss.host.cancellation import cancelled_by
from dcss.image.build import plan_image
from dcss.image.sources.host import lstat, read_node
from dcss.image.sources.kind import source_of

pytestmark = pytest.mark.timeout(60)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a socket": _socket,
    "a character device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_must_be_a_file_or_directory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    KINDS[kind](path)
    with pytest.raises(ImageError, match=f"source: found {kind}, wanted a directory, an ext2 image or a tar"):
        source_of(path)
    for source in (TarSource(path), Ext2Source(path)):
        with pytest.raises(ImageError, match="found no regular file, wanted a"):
            plan_image(source)
    with pytest.raises(ImageError, match="source"):
        plan_image(DirectorySource(path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_becomes_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    node = read_node(os.fsencode(path), lstat(os.fsencode(path)))
    assert isinstance(node, TreeFile)
    path.unlink()
    KINDS[kind](path)
    with pytest.raises(ImageError, match=f"file cannot be read: found {kind}, wanted a regular file"):
        node.store.open()  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["directory", "tar", "tar.gz"])
def test_reading_a_source_can_be_cancelled(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"content")
    source: ImageSource = DirectorySource(tmp_path / "tree")
    if kind != "directory":
        source = TarSource(tmp_path / kind)
        with tarfile.open(tmp_path / kind, "w:gz" if kind == "tar.gz" else "w") as tar:
            member = tarfile.TarInfo("file")
            member.size = 1 << 20
            tar.addfile(member, io.BytesIO(bytes(1 << 20)))
    flag = threading.Event()
    with cancelled_by(flag):
        plan_image(source)
        flag.set()
        with pytest.raises(asyncio.CancelledError):
            plan_image(source)

"""Listing an image's entries, and streaming the content of a file in pieces."""

import base64
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_support import build, opened_image

from dcss.ext2.namei import resolve
from dcss.image import listing
from dcss.image.listing import entry_document, listed, write_content, write_content_json
from dcss.image.opened import OpenedImage

CONTENT = os.urandom(10_000) + bytes(20_000) + os.urandom(3)


@pytest.fixture
def image(tmp_path: Path) -> Iterator[OpenedImage]:
    tree = tmp_path / "tree"
    (tree / "b/c").mkdir(parents=True)
    (tree / "b/c/deep").write_bytes(b"x")
    (tree / "b/link").symlink_to("c/deep")
    (tree / "a").mkdir()
    with (tree / "a/sparse").open("wb") as file:
        file.write(CONTENT[:10_000])
        file.seek(30_000)
        file.write(CONTENT[30_000:])
    (tree / "a/sparse").chmod(0o640)
    os.utime(tree / "a/sparse", (0, 1234))
    (tree / "z").write_bytes(b"")
    build(tree, tmp_path / "x.img")
    with opened_image(tmp_path / "x.img") as image:
        yield image


class ShortWrites(io.RawIOBase):
    """Takes a part of what is written, as a pipe does."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        part = memoryview(content)[:700]  # type: ignore[arg-type]
        self.taken += part
        return len(part)


@pytest.mark.parametrize("chunk_bytes", [99, 4096, 1 << 20])
def test_content_is_streamed_whole_in_any_pieces(
    image: OpenedImage, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(listing, "_CHUNK_BYTES", chunk_bytes)
    inode = resolve(image.volume, b"/a/sparse", follow=False)
    out = ShortWrites()
    write_content(image, inode, out)  # type: ignore[arg-type]
    assert out.taken == CONTENT
    out = ShortWrites()
    write_content_json(image, inode, {"path": "/a/sparse"}, out)  # type: ignore[arg-type]
    document = json.loads(out.taken)
    assert base64.b64decode(document.pop("content_base64"), validate=True) == CONTENT
    assert document == {"path": "/a/sparse", "size_bytes": len(CONTENT)}


def names(image: OpenedImage, path: bytes, *, recursive: bool) -> list[bytes]:
    inode = resolve(image.volume, path, follow=False)
    return [entry.name for entry in listed(image.volume, path, inode, recursive=recursive)]


def test_a_directory_is_listed_by_name_and_all_below_it_by_path(image: OpenedImage) -> None:
    assert names(image, b"/", recursive=False) == [b"a", b"b", b"lost+found", b"z"]
    below = [b"a/sparse", b"b/c", b"b/link", b"b/c/deep"]
    assert names(image, b"/", recursive=True) == [b"a", b"b", b"lost+found", b"z", *below]
    assert names(image, b"/a/sparse", recursive=True) == [b"/a/sparse"]


def test_an_entry_is_described_by_its_inode(image: OpenedImage) -> None:
    (sparse,) = listed(image.volume, b"x", resolve(image.volume, b"/a/sparse", follow=False), recursive=False)
    assert entry_document(sparse) == {
        "name": "x",
        "inode": sparse.inode.number,
        "type": "file",
        "mode": "0640",
        "uid": os.getuid(),
        "gid": os.getgid(),
        "links": 1,
        "size_bytes": len(CONTENT),
        "mtime": 1234,
        "device": None,
        "target": None,
    }
    entries = listed(image.volume, b"/b", resolve(image.volume, b"/b", follow=False), recursive=False)
    shown = [(document["name"], document["type"], document["target"]) for document in map(entry_document, entries)]
    assert shown == [("c", "directory", None), ("link", "symlink", "c/deep")]

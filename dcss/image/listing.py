"""List the entries of an image, and stream the content of its files."""

import base64
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from dcss.ext2.inode import Inode
from dcss.ext2.volume import Volume
from dcss.image.opened import OpenedImage

_CHUNK_BYTES: Final = 3 << 20  # a multiple of 3: base64 then goes on where it stopped
_TYPES: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class ListedFile(NamedTuple):
    """One line of a listing. `target` is a symbolic link's."""

    name: bytes
    inode: Inode
    target: bytes | None


def listed(volume: Volume, path: bytes, inode: Inode, *, recursive: bool) -> Iterator[ListedFile]:
    """Yield a directory's entries in order of name, with `recursive` everything below by path; or the file itself."""
    if not inode.is_dir:
        yield _entry(volume, path, inode)
        return
    pending = [(b"", inode)]
    while pending:
        prefix, directory = pending.pop()
        inner = []
        for entry in sorted(volume.entries(directory), key=lambda entry: entry.name):
            if entry.name in (b".", b".."):
                continue
            child = volume.inode(entry.inode)
            yield _entry(volume, prefix + entry.name, child)
            if recursive and child.is_dir:
                inner.append((prefix + entry.name + b"/", child))
        pending += reversed(inner)


def _entry(volume: Volume, name: bytes, inode: Inode) -> ListedFile:
    return ListedFile(name, inode, volume.readlink(inode) if inode.is_symlink else None)


def type_name(inode: Inode) -> str:
    """Return what an inode is, in words."""
    return _TYPES[stat.S_IFMT(inode.mode)]


def entry_document(entry: ListedFile) -> dict[str, Any]:
    """Return the JSON document of an entry; names are decoded as os.fsdecode does."""
    inode = entry.inode
    return {
        "name": os.fsdecode(entry.name),
        "inode": inode.number,
        "type": type_name(inode),
        "mode": f"{stat.S_IMODE(inode.mode):04o}",
        "uid": inode.uid,
        "gid": inode.gid,
        "links": inode.links_count,
        "size_bytes": inode.size_bytes,
        "mtime": inode.mtime,
        "device": list(inode.rdev) if inode.is_device else None,
        "target": None if entry.target is None else os.fsdecode(entry.target),
    }


def write_content(image: OpenedImage, inode: Inode, out: BinaryIO) -> None:
    """Write a regular file's bytes to `out`, a few megabytes at a time."""
    for chunk in _chunks(image, inode):
        _write(out, chunk)
    out.flush()


def write_content_json(image: OpenedImage, inode: Inode, head: dict[str, Any], out: BinaryIO) -> None:
    """Write one JSON document: `head`, the size, and the content in base64."""
    opening = json.dumps({**head, "size_bytes": inode.size_bytes, "content_base64": ""})
    _write(out, opening[:-2].encode())
    held = b""
    for chunk in _chunks(image, inode):
        held += chunk
        whole = len(held) - len(held) % 3
        _write(out, base64.b64encode(held[:whole]))
        held = held[whole:]
    _write(out, base64.b64encode(held) + b'"}\n')
    out.flush()


def _write(out: BinaryIO, content: bytes | memoryview) -> None:
    """Write all of it: with PYTHONUNBUFFERED standard output is a raw file, which may take a part."""
    view = memoryview(content)
    while view:
        view = view[out.write(view) :]


def _chunks(image: OpenedImage, inode: Inode) -> Iterator[bytes | memoryview]:
    block_size, left_bytes = image.volume.block_size_bytes, inode.size_bytes
    zeros = bytes(min(_CHUNK_BYTES, left_bytes))
    for run in image.volume.runs(inode):
        length = min(run.blocks * block_size, left_bytes)
        left_bytes -= length
        for offset in range(0, length, _CHUNK_BYTES):
            count = min(_CHUNK_BYTES, length - offset)
            if run.disk_block:
                yield image.source.bytes_at(run.disk_block * block_size + offset, count)
            else:
                yield zeros[:count]

"""Archives of an initramfs: cpio's format "newc". Source: Documentation/driver-api/early-userspace/buffer-format.rst.

The same content gives the same bytes: files belong to root, and their times are 0.
"""

import stat
from collections.abc import Iterable
from typing import Final, NamedTuple

_MAGIC: Final = b"070701"
_ALIGN_BYTES: Final = 4
_TRAILER: Final = "TRAILER!!!"


class Entry(NamedTuple):
    """A directory, a file or a device: its path without a slash in front, its mode with the type, what it holds."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str) -> Entry:
    """Return a directory that everybody may search."""
    return Entry(path, stat.S_IFDIR | 0o755)


def regular(path: str, content: bytes, *, executable: bool = False) -> Entry:
    """Return a file."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), content)


def archive(entries: Iterable[Entry]) -> bytes:
    """Return an archive; the kernel unpacks several that follow one another into one tree."""
    parts = [_packed(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join([*parts, _packed(0, Entry(_TRAILER, 0))])


def _packed(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # Inode, mode, uid, gid, links, time, size, the file system's device, the node's, size of the name, checksum.
    numbers = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    head = _MAGIC + b"".join(b"%08x" % value for value in numbers) + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN_BYTES)

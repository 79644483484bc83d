"""The tree that an image is made from: nodes, their attributes, and where the bytes of files are.

Names are bytes. A node with hard links is in several directories.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from stat import S_IFDIR
from typing import NamedTuple, Protocol

LOST_AND_FOUND = b"lost+found"


class NodeAttributes(NamedTuple):
    """What every node has. `mode` is st_mode with its file type; `mtime_s` counts whole seconds of Unix time."""

    mode: int
    uid: int
    gid: int
    mtime_s: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()  # full name, value as getxattr(2) returns it


class DataRun(NamedTuple):
    """Bytes of a file: `length_bytes` from `source_offset` of the store. What no run covers is a hole."""

    file_offset: int
    source_offset: int
    length_bytes: int


class FileStore(Protocol):
    """A host file that holds content, read at any offset."""

    def open(self) -> int:
        """Return a descriptor for reading. Raises ImageError if the file changed since it was planned."""


class StreamStore(ABC):
    """Content that can only be read from front to back, such as a compressed tar."""

    @abstractmethod
    def open_stream(self) -> BufferedReader:
        """Return a new stream at offset 0. Raises ImageError if the file changed since it was planned."""


Store = FileStore | StreamStore


@dataclass(slots=True, eq=False)
class TreeNode:
    """A file of any type, which becomes one inode."""

    attributes: NodeAttributes


@dataclass(slots=True, eq=False)
class TreeFile(TreeNode):
    """A regular file: `data` lists what is not a hole, in order and without overlap."""

    size_bytes: int
    data: tuple[DataRun, ...]
    store: Store


@dataclass(slots=True, eq=False)
class TreeSymlink(TreeNode):
    """A symbolic link and the bytes it holds."""

    target: bytes


@dataclass(slots=True, eq=False)
class TreeSpecial(TreeNode):
    """A device, FIFO or socket; `rdev` is st_rdev, 0 for those without a device number."""

    rdev: int = 0


@dataclass(slots=True, eq=False)
class TreeDirectory(TreeNode):
    """A directory; `entries` has neither . nor .. in it."""

    entries: dict[bytes, TreeNode] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """What a source holds.

    `left_out` counts regular files left out on request, `notes` list what could not be kept, `matched` counts the files
    that each pattern of the source names.
    """

    root: TreeDirectory
    left_out: int = 0
    notes: list[str] = field(default_factory=list)
    matched: dict[str, int] = field(default_factory=dict)


def default_directory(mtime_s: int = 0) -> TreeDirectory:
    """Return a directory that no source describes: owned by root, mode 0755."""
    return TreeDirectory(NodeAttributes(S_IFDIR | 0o755, 0, 0, mtime_s))


def walk(root: TreeDirectory) -> Iterator[tuple[bytes, TreeDirectory]]:
    """Yield every directory with its path, parents first, each directory's own in order of their names."""
    pending: list[tuple[bytes, TreeDirectory]] = [(b"/", root)]
    while pending:
        path, directory = pending.pop()
        yield path, directory
        prefix = path if path == b"/" else path + b"/"
        inner = [(prefix + name, node) for name, node in directory.entries.items() if isinstance(node, TreeDirectory)]
        pending.extend(sorted(inner, key=lambda item: item[0], reverse=True))

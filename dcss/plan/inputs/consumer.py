"""What is asked about: each consumer stands for a kind of guest, with the files that it would use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from dcss.abi.page import PAGE_SIZE
from dcss.ext2.mkfs.tree import Tree, TreeFile, walk

InputKind = Literal["process", "run", "directory", "archive", "image", "guest"]

GUESTS_OWN: Final = frozenset({b"dev", b"proc", b"sys", b"tmp"})
"""Directories of / over which every guest mounts its own."""


@dataclass(slots=True)
class UsedFile:
    """A file that a consumer would use: its paths in the guest, and how much of it was touched, None if unknown.

    `path_on_host` is set where this machine has the file at the same path: an image can take it from there.
    """

    node: TreeFile
    paths: list[bytes]
    touched_bytes: int | None = None
    referenced_bytes: int | None = None
    path_on_host: bool = False


@dataclass(slots=True)
class Consumer:
    """A process, a traced run, a directory, a container image, an ext2 image or a guest of a YAML file.

    `guests` says for how many guests of a system it stands; `links` has the symbolic links of its tree, by path.
    """

    name: str
    kind: InputKind
    source: str
    files: list[UsedFile]
    guests: int = 1
    links: Mapping[bytes, bytes] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of its files, in whole pages."""
        return sum(data_bytes(file.node) for file in self.files)

    @property
    def touched_bytes(self) -> int | None:
        """Bytes of its files that were touched, None where that is not known."""
        known = [file.touched_bytes for file in self.files if file.touched_bytes is not None]
        return sum(known) if len(known) == len(self.files) else None


def data_bytes(node: TreeFile) -> int:
    """Return what of a file lies in blocks: its pages that are no holes."""
    pages, end = 0, 0
    for file_offset, _, length_bytes in node.data:
        first = max(file_offset // PAGE_SIZE, end)
        end = -(-(file_offset + length_bytes) // PAGE_SIZE)
        pages += max(end - first, 0)
    return pages * PAGE_SIZE


def files_of_tree(tree: Tree) -> list[UsedFile]:
    """Return the regular files of a tree that hold anything, each inode once with all its paths."""
    found: dict[TreeFile, UsedFile] = {}
    for directory_path, directory in walk(tree.root):
        if directory_path.split(b"/")[1] in GUESTS_OWN:
            continue
        prefix = directory_path if directory_path == b"/" else directory_path + b"/"
        for name, node in sorted(directory.entries.items(), key=lambda item: item[0]):
            if isinstance(node, TreeFile) and node.data:
                found.setdefault(node, UsedFile(node, [])).paths.append(prefix + name)
    return list(found.values())

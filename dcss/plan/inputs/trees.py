"""Directories, container archives and ext2 images as consumers: every file in them would be used."""

import os
import stat
from pathlib import Path

from dcss.config.sources import Choice, DirectorySource, Ext2Source, TarSource
from dcss.ext2.inode import Inode
from dcss.ext2.mkfs.tree import (
    DataRun,
    NodeAttributes,
    Tree,
    TreeDirectory,
    TreeFile,
    TreeSymlink,
    default_directory,
    walk,
)
from dcss.ext2.volume import Volume
from dcss.image.opened import cut_to_file_system, image_source, mounted
from dcss.image.sources import read_tree
from dcss.image.sources.host import HostFile
from dcss.image.sources.kind import source_of
from dcss.plan.inputs.consumer import Consumer, InputKind, files_of_tree


def tree_consumer(path: Path, choice: Choice = Choice()) -> Consumer:  # noqa: B008 - immutable
    """Return the directory, tar, container archive or ext2 image at `path` as a consumer. Raises ImageError."""
    source = source_of(path)
    kind: InputKind
    match source:
        case DirectorySource():
            tree, kind = read_tree(source), "directory"
        case Ext2Source():
            tree, kind = tree_of_image(source.path, source.offset), "image"
        case TarSource():
            chosen = TarSource(source.path, choice.platform, choice.tag, source.label)
            tree, kind = read_tree(chosen), "archive"
        case _:
            raise AssertionError(f"{path}: a source of files")
    return tree_as_consumer(tree, path.absolute().name or "root", kind, str(path))


def tree_as_consumer(tree: Tree, name: str, kind: InputKind, source: str) -> Consumer:
    """Return a consumer that uses all of a tree."""
    return Consumer(name, kind, source, files_of_tree(tree), links=links_of(tree))


def links_of(tree: Tree) -> dict[bytes, bytes]:
    """Return the symbolic links of a tree, by path."""
    return {
        (path if path == b"/" else path + b"/") + name: node.target
        for path, directory in walk(tree.root)
        for name, node in directory.entries.items()
        if isinstance(node, TreeSymlink)
    }


def tree_of_image(path: Path, offset: int = 0) -> Tree:
    """Return what an ext2 image holds as a tree; its files are read in the image. Raises ImageError."""
    with image_source(path, offset) as source:
        cut_to_file_system(source)
        volume = mounted(source, path)
        found = path.stat()
        store = HostFile(os.fsencode(path.absolute()), found.st_size, found.st_mtime_ns)
        return _VolumeTree(volume, store, offset).read()


class _VolumeTree:
    """Reads a volume into a tree: directories, files and links; other nodes hold no data and are left out."""

    def __init__(self, volume: Volume, store: HostFile, first_byte: int) -> None:
        self._volume, self._store, self._first_byte = volume, store, first_byte
        self._linked: dict[int, TreeFile] = {}

    def read(self) -> Tree:
        """Return the tree."""
        root = default_directory()
        directories = {b"/": root}
        for path, inode in self._volume.walk():
            parent, name = os.path.split(path)
            if not name:
                continue
            entries = directories[parent].entries
            if inode.is_dir:
                directories[path] = entries[name] = TreeDirectory(_attributes(inode))
            elif inode.is_symlink:
                entries[name] = TreeSymlink(_attributes(inode), self._volume.readlink(inode))
            elif stat.S_ISREG(inode.mode):
                entries[name] = self._file(inode)
        return Tree(root)

    def _file(self, inode: Inode) -> TreeFile:
        node = self._linked.get(inode.number)
        if node is None:
            node = TreeFile(_attributes(inode), inode.size_bytes, tuple(self._data(inode)), self._store)
            self._linked[inode.number] = node
        return node

    def _data(self, inode: Inode) -> list[DataRun]:
        block_bytes, runs = self._volume.block_size_bytes, []
        for run in self._volume.runs(inode):
            offset = run.file_block * block_bytes
            length_bytes = min(run.blocks * block_bytes, inode.size_bytes - offset)
            if run.disk_block and length_bytes > 0:
                runs.append(DataRun(offset, self._first_byte + run.disk_block * block_bytes, length_bytes))
        return runs


def _attributes(inode: Inode) -> NodeAttributes:
    return NodeAttributes(inode.mode, inode.uid, inode.gid, inode.mtime)

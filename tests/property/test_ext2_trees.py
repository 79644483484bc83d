"""Random trees, made into images by mke2fs -d, come back as they were."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ext2_support import content, make_image, map_image
from hypothesis import given
from hypothesis import strategies as st
from needs_support import needs

from dcss.ext2.inode import Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

pytestmark = needs("mke2fs")


@dataclass(frozen=True)
class File:
    """Pieces at offsets, a size, and where to link it a second time."""

    pieces: tuple[tuple[int, bytes], ...]
    size: int
    mode: int
    other_name: bytes | None


@dataclass(frozen=True)
class Link:
    target: bytes


@dataclass(frozen=True)
class Fifo:
    mode: int


@dataclass(frozen=True)
class Directory:
    mode: int
    entries: dict[bytes, "Node"] = field(default_factory=dict)


Node = File | Link | Fifo | Directory

# mke2fs quotes nothing, so any byte goes but the two that no name has; "lost+found" is its own.
names = st.binary(min_size=1, max_size=60).filter(
    lambda name: not {0, 0x2F} & set(name) and name not in {b".", b"..", b"lost+found"}
)
modes = st.integers(0, 0o777).map(lambda mode: mode | 0o600)
pieces = st.lists(st.tuples(st.integers(0, 400_000), st.binary(min_size=1, max_size=5000)), max_size=4)
files = st.builds(
    lambda parts, extra, mode, other: File(
        tuple(parts), max((at + len(data) for at, data in parts), default=0) + extra, mode, other
    ),
    pieces,
    st.one_of(st.just(0), st.integers(0, 300_000)),
    modes,
    st.none() | names,
)
links = st.builds(Link, st.binary(min_size=1, max_size=900).filter(lambda target: 0 not in target))
leaves = files | links | st.builds(Fifo, modes)
directories = st.recursive(
    st.builds(Directory, modes.map(lambda mode: mode | 0o700), st.dictionaries(names, leaves, max_size=6)),
    lambda children: st.builds(
        Directory, modes.map(lambda mode: mode | 0o700), st.dictionaries(names, leaves | children, max_size=5)
    ),
    max_leaves=12,
)


def make(directory: Directory, at: Path) -> None:
    for name, node in directory.entries.items():
        path = at / os.fsdecode(name)
        match node:
            case Directory():
                path.mkdir()
                make(node, path)
                path.chmod(node.mode)
            case Link():
                os.symlink(node.target, path)  # noqa: PTH211 - a Path would tidy it up
            case Fifo():
                os.mkfifo(path)
                path.chmod(node.mode)
            case File():
                with path.open("wb") as file:
                    for offset, data in node.pieces:
                        file.seek(offset)
                        file.write(data)
                    file.truncate(node.size)
                path.chmod(node.mode)
                if node.other_name is not None and node.other_name not in directory.entries:
                    other = at / os.fsdecode(node.other_name)
                    if not os.path.lexists(other):
                        os.link(path, other)


def compare(volume: Volume, source: BufferSource, inode: Inode, path: Path) -> None:
    status = path.lstat()
    assert inode.mode == status.st_mode
    if stat.S_ISDIR(status.st_mode):
        entries = {found.name: found.inode for found in volume.entries(inode)}
        children = {os.fsencode(child.name): child for child in path.iterdir()}
        assert set(entries) - {b".", b"..", b"lost+found"} == set(children)
        for name, child in children.items():
            assert volume.lookup(inode, name) == entries[name]
            compare(volume, source, volume.inode(entries[name]), child)
        return
    assert inode.links_count == status.st_nlink
    if stat.S_ISLNK(status.st_mode):
        assert volume.readlink(inode) == os.fsencode(os.readlink(path))  # noqa: PTH115 - a Path would tidy it up
    elif stat.S_ISREG(status.st_mode):
        assert content(source, volume, inode) == path.read_bytes()


@given(directories, st.sampled_from((1024, 2048, 4096)), st.sampled_from((128, 256)))
def test_a_tree_comes_back_as_it_was(tree: Directory, block_size: int, inode_size: int) -> None:
    with TemporaryDirectory() as work:
        root = Path(work, "tree")
        root.mkdir()
        make(tree, root)
        image = make_image(Path(work, "image"), "24M", "-b", str(block_size), "-I", str(inode_size), tree=root)
        source = map_image(image)
        volume = Volume.mount(source)
        compare(volume, source, volume.root(), root)
        source.close()

"""ext2 images for tests: tiny ones packed by hand, where every field can be wrong, and real ones from mke2fs."""

import os
import subprocess
from collections.abc import Iterator
from mmap import PROT_READ, mmap
from pathlib import Path
from stat import S_IFDIR, S_IFREG
from typing import Any

from needs_support import tool

from dcss.abi.ext2 import (
    BLOCK_POINTERS,
    DIR_ENTRY_HEAD,
    DYNAMIC_REV,
    GROUP_DESC,
    MAGIC,
    RAW_INODE,
    ROOT_INO,
    SUPERBLOCK,
    SUPERBLOCK_OFFSET,
    VALID_FS,
    XATTR_ENTRY_HEAD,
    XATTR_HEADER,
    XATTR_MAGIC,
    GroupDesc,
    Incompat,
    RawInode,
    Superblock,
)
from dcss.ext2.inode import Inode
from dcss.ext2.source import BlockSource, BufferSource
from dcss.ext2.volume import Volume

FIRST_FREE_INODE = 12
ZEROS = bytes(1 << 20)


class CountingSource:
    """A BlockSource that remembers what was read, as (offset, length)."""

    def __init__(self, buffer: bytes | bytearray | memoryview | mmap) -> None:
        self._source = BufferSource(buffer)
        self.size_bytes = self._source.size_bytes
        self.reads: list[tuple[int, int]] = []

    def bytes_at(self, offset: int, length: int) -> memoryview:
        self.reads.append((offset, length))
        return self._source.bytes_at(offset, length)


class TinyImage:
    """One block group, packed by hand; an empty root directory to begin with.

    `data` is the image. `superblock`, `desc`, `inode`, `directory` and `pointers` write into it, and take any value.
    """

    def __init__(self, *, block_size: int = 1024, blocks: int = 256, inodes: int = 64) -> None:
        self.block_size = block_size
        self.data = bytearray(blocks * block_size)
        first = 1 if block_size == 1024 else 0
        self.table = first + 4
        self._free = self.table + -(-inodes * 128 // block_size)
        self._superblock = Superblock._make(SUPERBLOCK.unpack(bytes(SUPERBLOCK.size)))
        self.superblock(
            s_inodes_count=inodes,
            s_blocks_count=blocks,
            s_first_data_block=first,
            s_log_block_size=(block_size // 1024).bit_length() - 1,
            s_log_frag_size=(block_size // 1024).bit_length() - 1,
            s_blocks_per_group=8 * block_size,
            s_frags_per_group=8 * block_size,
            s_inodes_per_group=inodes,
            s_magic=MAGIC,
            s_state=VALID_FS,
            s_max_mnt_count=0xFFFF,
            s_rev_level=DYNAMIC_REV,
            s_first_ino=11,
            s_inode_size=128,
            s_feature_incompat=int(Incompat.FILETYPE),
        )
        self.desc(0, bg_block_bitmap=first + 2, bg_inode_bitmap=first + 3, bg_inode_table=self.table)
        self.directory(ROOT_INO, {b".": ROOT_INO, b"..": ROOT_INO})

    def superblock(self, **fields: Any) -> None:
        self._superblock = self._superblock._replace(**fields)
        SUPERBLOCK.pack_into(self.data, SUPERBLOCK_OFFSET, *self._superblock)

    def desc(self, group: int, **fields: Any) -> None:
        offset = (SUPERBLOCK_OFFSET // self.block_size + 1) * self.block_size + group * GROUP_DESC.size
        desc = GroupDesc._make(GROUP_DESC.unpack_from(self.data, offset))._replace(**fields)
        GROUP_DESC.pack_into(self.data, offset, *desc)

    def inode(self, number: int, *, pointers: tuple[int, ...] | None = None, **fields: Any) -> None:
        offset = self.table * self.block_size + (number - 1) * 128
        raw = RawInode._make(RAW_INODE.unpack_from(self.data, offset))._replace(**fields)
        if pointers is not None:
            raw = raw._replace(i_block=BLOCK_POINTERS.pack(*pointers, *[0] * (15 - len(pointers))))
        RAW_INODE.pack_into(self.data, offset, *raw)

    def allocate(self, blocks: int = 1) -> int:
        """Return the first of so many blocks that nothing uses yet."""
        self._free += blocks
        assert self._free * self.block_size <= len(self.data), "the tiny image is full"
        return self._free - blocks

    def write(self, block: int, content: bytes, at: int = 0) -> None:
        offset = block * self.block_size + at
        self.data[offset : offset + len(content)] = content

    def file(self, number: int, content: bytes = b"", **fields: int) -> None:
        """Make a regular file with its blocks in one run."""
        blocks = -(-len(content) // self.block_size)
        start = self.allocate(blocks)
        self.write(start, content)
        assert blocks <= 12
        pointers = tuple(range(start, start + blocks))
        fields = {"i_mode": S_IFREG | 0o644, "i_links_count": 1, "i_size": len(content), **fields}
        self.inode(number, pointers=pointers, i_blocks=blocks * self.block_size // 512, **fields)

    def directory(self, number: int, names: dict[bytes, int]) -> int:
        """Make a directory of one block and return the block."""
        block = self.allocate()
        self.inode(
            number,
            i_mode=S_IFDIR | 0o755,
            i_size=self.block_size,
            i_links_count=2,
            i_blocks=self.block_size // 512,
            pointers=(block,),
        )
        self.write(block, entries_block(names, self.block_size))
        return block

    def pointers(self, block: int, numbers: dict[int, int]) -> int:
        """Write an indirect block, index by index, and return it."""
        for index, number in numbers.items():
            self.write(block, number.to_bytes(4, "little"), index * 4)
        return block

    def volume(self, **options: object) -> Volume:
        return Volume.mount(BufferSource(self.data), **options)  # type: ignore[arg-type]


def entry(
    number: int, name: bytes, rec_len: int | None = None, file_type: int = 0, name_len: int | None = None
) -> bytes:
    """Pack one directory entry, padded to its rec_len."""
    least = (8 + len(name) + 3) // 4 * 4
    head = DIR_ENTRY_HEAD.pack(
        number, least if rec_len is None else rec_len, len(name) if name_len is None else name_len, file_type
    )
    return (head + name).ljust(least if rec_len is None else max(rec_len, least), b"\0")


def entries_block(names: dict[bytes, int], block_size: int) -> bytes:
    """Pack a directory's block; the last entry takes the rest."""
    packed = [entry(number, name) for name, number in names.items()]
    used = sum(map(len, packed[:-1]))
    name, number = list(names.items())[-1]
    return b"".join(packed[:-1]) + entry(number, name, rec_len=block_size - used)


def attributes_block(*attributes: tuple[int, bytes, bytes], size: int = 1024, **header: int) -> bytes:
    """Pack index, name and value of each extended attribute into a block."""
    fields = {"magic": XATTR_MAGIC, "refcount": 1, "blocks": 1, **header}
    heads = XATTR_HEADER.pack(fields["magic"], fields["refcount"], fields["blocks"], 0, bytes(16))
    values = b""
    for index, name, value in attributes:
        values = value.ljust(-(-len(value) // 4) * 4, b"\0") + values
        heads += XATTR_ENTRY_HEAD.pack(len(name), index, size - len(values), 0, len(value), 0)
        heads += name.ljust(-(-len(name) // 4) * 4, b"\0")
    return heads.ljust(size - len(values), b"\0") + values


def content(source: BufferSource, volume: Volume, inode: Inode) -> bytes:
    """Read a whole file by its runs."""
    return b"".join(pieces(source, volume, inode))


def pieces(source: BufferSource, volume: Volume, inode: Inode) -> Iterator[bytes | memoryview]:
    """Yield a file's bytes, run by run; holes as zeros in pieces of at most 1 MiB."""
    rest = inode.size_bytes
    for run in volume.runs(inode):
        length = min(run.blocks * volume.block_size_bytes, rest)
        rest -= length
        if run.disk_block:
            yield source.bytes_at(run.disk_block * volume.block_size_bytes, length)
            continue
        while length:
            yield ZEROS[:length]
            length -= min(length, len(ZEROS))


def read_everything(source: BlockSource) -> Volume:
    """Use every read of a volume on everything it holds, but for the bytes of files."""
    volume = Volume.mount(source)
    for path, inode in volume.walk():
        volume.resolve(path, follow=False)
        volume.xattrs(inode)
        if inode.is_symlink:
            volume.readlink(inode)
        elif inode.has_block_map:
            runs = list(volume.runs(inode))
            list(volume.indirect_blocks(inode))
            for run in runs[:50]:
                volume.get_block(inode, run.file_block)
    for number in range(volume.group_count):
        volume.group(number)
    return volume


def map_image(path: Path) -> BufferSource:
    """Map an image file; the mapping lives as long as the source."""
    with path.open("rb") as image:
        return BufferSource(mmap(image.fileno(), 0, prot=PROT_READ))


def e2fs(*argv: str | os.PathLike[str], accept: tuple[int, ...] = (0,)) -> bytes:
    """Run a program of e2fsprogs and return its output."""
    program = tool(os.fspath(argv[0]))
    assert program is not None
    done = subprocess.run([program, *argv[1:]], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode in accept, (argv, done.returncode, done.stdout, done.stderr)
    return done.stdout


def make_image(path: Path, size: str, *options: str, tree: Path | None = None) -> Path:
    """Run mke2fs; `options` as on its command line, `tree` becomes the content."""
    populate = () if tree is None else ("-d", tree)
    e2fs("mke2fs", "-q", "-F", "-t", "ext2", *options, *populate, path, size)
    return path


def debugfs(path: Path, *commands: str, write: bool = False) -> str:
    """Run debugfs commands and return what they print; in its output, a command's own text is not repeated."""
    script = path.with_suffix(".debugfs")
    script.write_text("".join(f"{command}\n" for command in commands), encoding="utf-8")
    output = e2fs("debugfs", *(("-w",) if write else ()), "-f", script, path).decode("utf-8", "surrogateescape")
    return "".join(line for line in output.splitlines(keepends=True) if not line.startswith("debugfs: "))

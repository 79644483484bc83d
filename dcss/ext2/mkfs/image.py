"""Make an ext2 image of a tree: first place everything, then write it."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Final, NamedTuple

from dcss.errors import ImageError
from dcss.ext2.indirect import BlockRun
from dcss.ext2.mkfs.blockmap import BlockMap, check_file_size, count_indirect_blocks, direct_pointers
from dcss.ext2.mkfs.copy import Copier, ImageWindow, ProgressFunction, Transfer, copy_files, transfers
from dcss.ext2.mkfs.directories import pack_directory
from dcss.ext2.mkfs.geometry import BLOCK_SIZE_BYTES, BLOCKS_PER_GROUP
from dcss.ext2.mkfs.groups import Groups, group_metadata
from dcss.ext2.mkfs.inodes import BLANK_INODE, FAST_SYMLINK_BYTES, NO_POINTERS, pack_inode, pointers_without_blocks
from dcss.ext2.mkfs.layout import HUGE_PAGE_BYTES, LARGE_BLOCKS, BlockExtent, Demand, Layout, lay_out
from dcss.ext2.mkfs.numbering import InodePlan, Numbering, number_inodes
from dcss.ext2.mkfs.tree import DataRun, StreamStore, Tree, TreeDirectory, TreeFile, TreeSpecial, TreeSymlink

_MAX_TARGET_BYTES: Final = BLOCK_SIZE_BYTES - 1  # ext2_symlink of fs/ext2/namei.c


class Metadata(NamedTuple):
    """What an image holds besides files' content.

    `table` has every inode from number 1 on; `small` (offset in the image, content) of directories, long links and
    extended attributes; `maps` belong to the files that have indirect blocks.
    """

    table: list[bytes]
    small: list[tuple[int, bytes]]
    maps: list[BlockMap]


@dataclass(slots=True)
class PlacedImage:
    """An image in which every byte has its place, not yet written.

    `contents` are what the blocks of each inode's directory or long link hold. `metadata` is made when it is first
    written, while files are copied.
    """

    layout: Layout
    numbering: Numbering
    contents: list[bytes]
    files: list[tuple[TreeFile, tuple[BlockRun, ...]]]
    metadata: Metadata | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the file system."""
        return self.layout.blocks * BLOCK_SIZE_BYTES

    def write(self, window: ImageWindow, progress: ProgressFunction | None) -> None:
        """Write what lies in `window`, whose file reads as zeros. A superblock comes last: a partial image has none."""
        self._write_around(window.write, lambda meanwhile: self._copy(window, progress, meanwhile))

    def write_empty(self, write: Callable[[bytes, int], None]) -> None:
        """Write an image without files by `write`, which gets bytes and offset, over whatever is there."""
        geometry = self.layout.geometry
        for group in range(geometry.groups):
            first, end = group * BLOCKS_PER_GROUP, geometry.first_free_block(group)
            write(bytes((end - first) * BLOCK_SIZE_BYTES), first * BLOCK_SIZE_BYTES)
        self._write_around(write, lambda meanwhile: meanwhile())

    def _write_around(self, write: Callable[[bytes, int], None], copy: Callable[[Callable[[], None]], None]) -> None:
        """Write metadata while `copy` copies the files, which calls what it is given, and then the superblocks."""
        digest = sha256()
        groups = Groups(self.layout, self.numbering.last_number, self.numbering.directories)

        def write_metadata() -> None:
            for offset, content in _joined(self._metadata(groups)):
                digest.update(content)
                write(content, offset)

        copy(write_metadata)
        for offset, content in groups.superblocks(digest.digest()):
            write(content, offset)

    def content_bytes(self, window: ImageWindow) -> int:
        """Return how many bytes of files `write` copies into `window`."""
        return sum(
            transfer.length_bytes for file, runs in self.files for transfer in window.clip(transfers(file, runs))
        )

    def _metadata(self, groups: Groups) -> Iterator[tuple[int, bytes]]:
        if self.metadata is None:
            self.metadata = _Placement(self.layout, self.numbering).run(self.contents)
        table, small, maps = self.metadata
        yield from group_metadata(self.layout.geometry, groups, table)
        yield from small
        for block_map in maps:
            for block, content in block_map.blocks():
                yield block * BLOCK_SIZE_BYTES, content

    def _copy(self, window: ImageWindow, progress: ProgressFunction | None, meanwhile: Callable[[], None]) -> None:
        anywhere: list[Transfer] = []
        streamed: dict[StreamStore, list[Transfer]] = {}
        for file, runs in self.files:
            wanted = anywhere if not isinstance(file.store, StreamStore) else streamed.setdefault(file.store, [])
            wanted += window.clip(transfers(file, runs))
        copy_files(window, anywhere, progress, meanwhile)
        for store, wanted in streamed.items():
            if wanted:
                Copier(window, progress).copy_stream(store, wanted)


def place(tree: Tree, address_bytes: int, limit_bytes: int | None) -> PlacedImage:
    """Place everything that `tree` holds in an image that will lie at `address_bytes` and cover `limit_bytes` if given.

    Raises ImageError for what ext2 cannot hold, and where the limit is too small.
    """
    numbering = number_inodes(tree)
    contents = [_content(inode, numbering) for inode in numbering.inodes]
    files = [
        (inode, inode.node, extents_of(inode.node.data))
        for inode in numbering.inodes
        if isinstance(inode.node, TreeFile)
    ]
    for inode, file, _ in files:
        check_file_size(inode.path, file.size_bytes)
    meta_blocks = len(numbering.xattr_blocks) + sum(count_indirect_blocks(extents) for _, _, extents in files)
    for content in contents:
        if content:
            extent = BlockExtent(0, -(-len(content) // BLOCK_SIZE_BYTES))
            meta_blocks += extent.blocks + count_indirect_blocks([extent])
    demand = Demand(numbering.last_number, meta_blocks, [extents for _, _, extents in files])
    layout = lay_out(
        demand, address_bytes // BLOCK_SIZE_BYTES, None if limit_bytes is None else limit_bytes // BLOCK_SIZE_BYTES
    )
    if layout.unaligned:
        wanted_bytes = lay_out(demand, address_bytes // BLOCK_SIZE_BYTES, None).blocks * BLOCK_SIZE_BYTES
        tree.notes.append(
            f"the size leaves no room to align all data of 1 MiB or more for huge pages: {layout.unaligned} are not,"
            f" wanted {wanted_bytes} bytes for that"
        )
    if address_bytes % HUGE_PAGE_BYTES and any(
        extent.blocks >= LARGE_BLOCKS for _, _, each in files for extent in each
    ):
        tree.notes.append(
            f"address {address_bytes:#x} is no multiple of 2 MiB: huge pages cannot map anything of a segment there"
        )
    placed = [(file, runs) for (_, file, _), runs in zip(files, layout.runs, strict=True) if runs]
    return PlacedImage(layout, numbering, contents, placed)


def _content(inode: InodePlan, numbering: Numbering) -> bytes:
    """Return what a directory's or a long link's blocks hold; nothing for other nodes."""
    node = inode.node
    if isinstance(node, TreeDirectory):
        return pack_directory(inode, numbering)
    if not isinstance(node, TreeSymlink) or len(node.target) < FAST_SYMLINK_BYTES:
        return b""
    if len(node.target) > _MAX_TARGET_BYTES:
        raise ImageError(
            f"{os.fsdecode(inode.path)}: the link holds {len(node.target)} bytes, ext2 at most {_MAX_TARGET_BYTES}"
        )
    return node.target


def extents_of(data: Sequence[DataRun]) -> tuple[BlockExtent, ...]:
    """Return which blocks hold data: those that any byte of it touches."""
    if len(data) == 1 and not data[0].file_offset:
        return (BlockExtent(0, -(-data[0].length_bytes // BLOCK_SIZE_BYTES)),)
    extents: list[BlockExtent] = []
    for file_offset, _, length in data:
        first = file_offset // BLOCK_SIZE_BYTES
        end = -(-(file_offset + length) // BLOCK_SIZE_BYTES)
        if extents and first <= extents[-1].file_block + extents[-1].blocks:
            first = extents[-1].file_block
            extents.pop()
        extents.append(BlockExtent(first, end - first))
    return tuple(extents)


class _Placement:
    """Allocates blocks of metadata, in order, while inodes are packed."""

    def __init__(self, layout: Layout, numbering: Numbering) -> None:
        blocks = chain.from_iterable(range(first, first + count) for first, count in layout.meta)
        self._take: Callable[[], int] = blocks.__next__
        self._layout, self._numbering = layout, numbering
        self._image = Metadata([BLANK_INODE] * numbering.last_number, [], [])

    def run(self, contents: list[bytes]) -> Metadata:
        """Return the metadata for directories and links of these contents."""
        image, numbering = self._image, self._numbering
        placed = [self._place_content(content) if content else None for content in contents]
        xattr_blocks = [self._take() for _ in numbering.xattr_blocks]
        image.small.extend(
            zip((block * BLOCK_SIZE_BYTES for block in xattr_blocks), numbering.xattr_blocks, strict=True)
        )
        runs_of_files = iter(self._layout.runs)
        for inode, content, place in zip(numbering.inodes, contents, placed, strict=True):
            xattr_block = 0 if inode.xattr_block is None else xattr_blocks[inode.xattr_block]
            node = inode.node
            if isinstance(node, TreeFile):
                runs = next(runs_of_files)
                packed = self._pack_file(inode, node, runs, xattr_block)
            elif place is not None:
                pointers, blocks = place
                packed = pack_inode(inode, len(content), blocks, pointers, xattr_block)
            else:
                assert isinstance(node, TreeSymlink | TreeSpecial)
                target_bytes = len(node.target) if isinstance(node, TreeSymlink) else 0
                packed = pack_inode(inode, target_bytes, 0, pointers_without_blocks(node), xattr_block)
            image.table[inode.number - 1] = packed
        return image

    def _place_content(self, content: bytes) -> tuple[tuple[int, ...], int]:
        """Place a directory's blocks or a long link's, and return i_block and how many blocks there are in all."""
        runs: list[BlockRun] = []
        for file_block in range(-(-len(content) // BLOCK_SIZE_BYTES)):
            block = self._take()
            if runs and runs[-1].disk_block + runs[-1].blocks == block:
                runs[-1] = runs[-1]._replace(blocks=runs[-1].blocks + 1)
            else:
                runs.append(BlockRun(file_block, block, 1))
        for run in runs:
            part = content[run.file_block * BLOCK_SIZE_BYTES : (run.file_block + run.blocks) * BLOCK_SIZE_BYTES]
            self._image.small.append((run.disk_block * BLOCK_SIZE_BYTES, part))
        pointers, indirect_blocks = self._map(runs)
        return pointers, -(-len(content) // BLOCK_SIZE_BYTES) + indirect_blocks

    def _map(self, runs: Sequence[BlockRun]) -> tuple[tuple[int, ...], int]:
        """Return i_block for data in `runs`, and how many indirect blocks it needs, which are placed."""
        direct = direct_pointers(runs)
        if direct is not None:
            return direct, 0
        block_map = BlockMap(runs, self._take)
        if block_map.indirect_blocks:
            self._image.maps.append(block_map)
        return block_map.pointers, block_map.indirect_blocks

    def _pack_file(self, inode: InodePlan, file: TreeFile, runs: tuple[BlockRun, ...], xattr_block: int) -> bytes:
        if not runs:
            return pack_inode(inode, file.size_bytes, 0, NO_POINTERS, xattr_block)
        pointers, indirect_blocks = self._map(runs)
        blocks = sum(run.blocks for run in runs) + indirect_blocks
        return pack_inode(inode, file.size_bytes, blocks, pointers, xattr_block)


def _joined(chunks: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Join chunks that follow one another, up to about a megabyte."""
    parts: list[bytes] = []
    start = end = 0
    for offset, content in chunks:
        if parts and (offset != end or end - start >= 1 << 20):
            yield start, b"".join(parts)
            parts = []
        if not parts:
            start = offset
        padding = -len(content) % BLOCK_SIZE_BYTES
        parts += [content, bytes(padding)] if padding else [content]
        end = offset + len(content) + padding
    if parts:
        yield start, b"".join(parts)

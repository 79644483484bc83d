"""Map an image: where files lie, how many mappings each needs, and what huge pages can map."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from dcss.abi.page import PAGE_SIZE
from dcss.errors import ImageError
from dcss.ext2.bitmap import clear_spans, load_bitmap
from dcss.ext2.indirect import BlockRun
from dcss.ext2.inode import Inode
from dcss.ext2.mkfs import layout
from dcss.ext2.source import BlockSource
from dcss.ext2.volume import Volume
from dcss.image.opened import mounted

HUGE_PAGE_BYTES: Final = layout.HUGE_PAGE_BYTES

StretchContent = Literal["metadata", "huge", "large", "small", "free"]


@dataclass(frozen=True, slots=True)
class FileMap:
    """One regular file.

    `runs` are stretches of blocks that lie together, `pieces` what of them one mmap call maps: a run is cut where a
    segment ends. `mappings` counts the calls that map the whole file, one a piece or hole; `huge_bytes` is what of it
    pages of 2 MiB can map; `slack_bytes` is the unused rest of its last block.
    """

    path: bytes
    inode: int
    size_bytes: int
    data_bytes: int
    runs: tuple[BlockRun, ...]
    pieces: tuple[BlockRun, ...]
    mappings: int
    huge_bytes: int
    aligned: bool

    @property
    def slack_bytes(self) -> int:
        """Bytes of the last block past the file's end."""
        return -self.size_bytes % PAGE_SIZE if self.runs else 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of the image that hold one kind of content; `file` names the file they belong to."""

    first_byte: int
    size_bytes: int
    content: StretchContent
    file: bytes | None


@dataclass(frozen=True, slots=True)
class ImageMap:
    """All of an image that lies at `address`: its files in order of path, and its stretches in order of address.

    `borders` are the bytes at which one of its segments ends and the next one begins.
    """

    address: int
    size_bytes: int
    files: tuple[FileMap, ...]
    stretches: tuple[Stretch, ...]
    borders: tuple[int, ...] = ()

    def total_bytes(self, *contents: StretchContent) -> int:
        """Return the bytes of these kinds of content."""
        return sum(stretch.size_bytes for stretch in self.stretches if stretch.content in contents)

    @property
    def huge_share(self) -> float | None:
        """The part of the files' data that huge pages can map, 0 to 1; None where there is no data."""
        data_bytes = sum(file.data_bytes for file in self.files)
        return sum(file.huge_bytes for file in self.files) / data_bytes if data_bytes else None


def map_image(source: BlockSource, path: Path, address: int = 0, borders: Sequence[int] = ()) -> ImageMap:
    """Return the map of the ext2 image in `source`, as it lies at absolute `address`; `path` is for messages.

    `borders` are the bytes at which it goes on in another segment, if it lies over several.

    Raises ImageError for an image that is no ext2 or whose blocks are not pages, Ext2FormatError or KernelError for a
    damaged one.
    """
    if address % PAGE_SIZE:
        raise ImageError(f"address {address:#x}: wanted a multiple of {PAGE_SIZE}")
    volume = mounted(source, path)
    if volume.block_size_bytes != PAGE_SIZE:
        raise ImageError(f"{path} has blocks of {volume.block_size_bytes} bytes: only blocks of {PAGE_SIZE} map")
    seen: dict[int, FileMap] = {}
    for name, inode in volume.walk():
        if inode.is_regular and inode.number not in seen:
            seen[inode.number] = _map_file(volume, name, inode, address, [border // PAGE_SIZE for border in borders])
    files = tuple(sorted(seen.values(), key=lambda file: file.path))
    blocks = volume.block_count
    stretches = tuple(_stretches(files, list(_free(volume, source)), blocks, address // PAGE_SIZE))
    return ImageMap(address, blocks * PAGE_SIZE, files, stretches, tuple(borders))


def _map_file(volume: Volume, path: bytes, inode: Inode, address: int, border_blocks: Sequence[int]) -> FileMap:
    every = list(volume.runs(inode))
    runs = tuple(run for run in every if run.disk_block)
    pieces = tuple(piece for run in runs for piece in _cut(run, border_blocks))
    huge_blocks = sum(end - first for piece in pieces for first, end in _huge(piece, address // PAGE_SIZE))
    return FileMap(
        path=path,
        inode=inode.number,
        size_bytes=inode.size_bytes,
        data_bytes=sum(run.blocks for run in runs) * PAGE_SIZE,
        runs=runs,
        pieces=pieces,
        mappings=len(every) - len(runs) + len(pieces),
        huge_bytes=huge_blocks * PAGE_SIZE,
        aligned=all(_agrees(run, address // PAGE_SIZE) for run in runs),
    )


def _cut(run: BlockRun, border_blocks: Sequence[int]) -> Iterator[BlockRun]:
    """Yield the parts of a run of blocks that lie in one segment each."""
    end = run.disk_block + run.blocks
    cuts = [run.disk_block, *(block for block in border_blocks if run.disk_block < block < end), end]
    for first, last in pairwise(cuts):
        yield BlockRun(run.file_block + first - run.disk_block, first, last - first)


def _agrees(run: BlockRun, address_block: int) -> bool:
    """Return whether the run's offset in the file and its address agree modulo 2 MiB."""
    return (address_block + run.disk_block - run.file_block) * PAGE_SIZE % HUGE_PAGE_BYTES == 0


def _huge(run: BlockRun, address_block: int) -> Iterator[tuple[int, int]]:
    """Yield the blocks of the image, as (first, end), in which the run fills whole pages of 2 MiB."""
    unit = HUGE_PAGE_BYTES // PAGE_SIZE
    first = run.disk_block + -run.file_block % unit
    end = run.disk_block + run.blocks - (run.file_block + run.blocks) % unit
    if _agrees(run, address_block) and first < end:
        yield first, end


def _free(volume: Volume, source: BlockSource) -> Iterator[tuple[int, int]]:
    """Yield the blocks that are free in the bitmaps, as (first, end); blocks of 4 KiB are counted from 0."""
    per_group = volume.superblock.s_blocks_per_group
    for group in range(volume.group_count):
        start, end = group * per_group, min((group + 1) * per_group, volume.block_count)
        bitmap = load_bitmap(source.bytes_at(volume.group(group).bg_block_bitmap * PAGE_SIZE, PAGE_SIZE))
        for first, last in clear_spans(bitmap, end - start):
            yield start + first, start + last


def _stretches(
    files: tuple[FileMap, ...], free: list[tuple[int, int]], blocks: int, address_block: int
) -> Iterator[Stretch]:
    """Yield all blocks in order; what is neither a file's data nor free is metadata."""
    known: list[tuple[int, int, StretchContent, bytes | None]] = [(first, end, "free", None) for first, end in free]
    for file in files:
        rest: StretchContent = "large" if file.size_bytes >= layout.LARGE_BYTES else "small"
        for piece in file.pieces:
            at = piece.disk_block
            for first, end in _huge(piece, address_block):
                known += [(at, first, rest, file.path), (first, end, "huge", file.path)]
                at = end
            known.append((at, piece.disk_block + piece.blocks, rest, file.path))
    at = 0
    for first, end, content, path in sorted(known, key=lambda item: item[:2]):
        if at < first:
            yield Stretch(at * PAGE_SIZE, (first - at) * PAGE_SIZE, "metadata", None)
        if max(at, first) < end:
            yield Stretch(max(at, first) * PAGE_SIZE, (end - max(at, first)) * PAGE_SIZE, content, path)
        at = max(at, end)
    if at < blocks:
        yield Stretch(at * PAGE_SIZE, (blocks - at) * PAGE_SIZE, "metadata", None)


def map_document(image: ImageMap) -> dict[str, Any]:
    """Return the JSON document of a map."""
    return {
        "address": image.address,
        "size_bytes": image.size_bytes,
        "metadata_bytes": image.total_bytes("metadata"),
        "free_bytes": image.total_bytes("free"),
        "huge_share": image.huge_share,
        "borders": list(image.borders),
        "files": [_file_document(file) for file in image.files],
    }


def _file_document(file: FileMap) -> dict[str, Any]:
    return {
        "path": os.fsdecode(file.path),
        "inode": file.inode,
        "size_bytes": file.size_bytes,
        "data_bytes": file.data_bytes,
        "slack_bytes": file.slack_bytes,
        "runs": [list(run) for run in file.runs],
        "mappings": file.mappings,
        "huge_bytes": file.huge_bytes,
        "aligned": file.aligned,
    }

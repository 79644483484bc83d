"""Segments as files to keep or carry: an image of the saved content, and beside it the manifest, IMAGE.manifest."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from dcss.abi.extmem import SegmentDefinition, SegmentName, check_adjoining
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.cp.segments.content import copy_descriptor, file_digest, file_fill, regular_size_bytes, write_content
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import Segment
from dcss.cp.spool.manifest import MAX_MANIFEST_BYTES, Manifest, pack_joined, unpack_joined
from dcss.cp.spool.saved import SavedSegments, saved_class
from dcss.cp.threads import in_thread
from dcss.cp.userids import OPERATOR
from dcss.errors import ConfigError, SpoolError
from dcss.host.files import check_replaceable, no_fault, read_regular, write_all, write_durably


def manifest_of(image: Path) -> Path:
    """Return where the manifest of an exported image lies."""
    return image.with_name(image.name + ".manifest")


def export_segments(segments: Sequence[Segment], image: Path) -> None:
    """Write the saved contents of `segments` to `image`, one behind the other, and their manifest. It blocks.

    Files of those names are replaced whole, or stay as they were. Raises ConfigError for segments that do not adjoin,
    SpoolError, DamagedError if a content is not what was saved, ValueError for a skeleton.
    """
    try:
        check_adjoining([segment.definition for segment in segments])
    except ValueError as error:
        raise ConfigError(f"{error}, since one file is for segments that adjoin; export it by itself") from error
    digests: list[str] = []

    def write(descriptor: int) -> None:
        if len(segments) == 1:
            digests.append(_write_saved(segments[0], descriptor))
            return
        for segment in segments:
            with TemporaryFile(dir=image.parent) as content:
                digests.append(_write_saved(segment, content.fileno()))
                copy_descriptor(content.fileno(), descriptor, segment.definition.size_bytes)

    try:
        image = Path(os.path.realpath(image))
        check_replaceable(manifest_of(image))
        write_durably(image, write, no_fault)
        manifests = [_manifest(segment, digest) for segment, digest in zip(segments, digests, strict=True)]
        packed = manifests[0].pack() if len(manifests) == 1 else pack_joined(manifests)
        write_durably(manifest_of(image), lambda descriptor: write_all(descriptor, packed), no_fault)
    except OSError as error:
        names = ":".join(segment.name for segment in segments)
        raise SpoolError(f"segment {names}: could not be exported to {image}: {error}") from error


def _write_saved(segment: Segment, descriptor: int) -> str:
    """Write the saved content of `segment` into an empty file, and return its digest."""
    fill = segment.fill
    if fill is None:
        raise ValueError(f"segment {segment.name}: a skeleton has no content to export; save it first")
    os.ftruncate(descriptor, segment.definition.size_bytes)  # holes of the content stay holes
    write_content(segment.definition, fill, descriptor, saved_only=True, drop=True)
    digest = file_digest(descriptor)
    if segment.saved_digest not in {None, digest}:
        raise DamagedError(f"its content has digest {digest}, saved was {segment.saved_digest}", segment.name)
    return digest


def _manifest(segment: Segment, digest: str) -> Manifest:
    definition = segment.definition
    return Manifest(segment.spid, 0, saved_class(definition), definition, segment.owner, segment.created, digest)


def read_exported(image: Path) -> tuple[Manifest, ...]:
    """Return the manifests of the segments in an exported file, in their order.

    Raises SpoolError if there is no manifest, or it is damaged.
    """
    path = manifest_of(image)
    try:
        return unpack_joined(read_regular(path, MAX_MANIFEST_BYTES))
    except OSError as error:
        raise SpoolError(f"{image}: could not be imported: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpoolError(f"{path}: not a manifest of an exported segment: {error}") from error


def moved(definition: SegmentDefinition, *, name: SegmentName, start: int) -> SegmentDefinition:
    """Return `definition` under another name, its first page at another address. Raises ValueError for a wrong one."""
    if start % PAGE_SIZE:
        raise ValueError(f"segment {name}: found address {start:#x}, wanted a multiple of {PAGE_SIZE}")
    pages = (start - definition.start) >> PAGE_SHIFT
    return replace(
        definition,
        name=name,
        ranges=tuple(
            replace(each, first_page=each.first_page + pages, last_page=each.last_page + pages)
            for each in definition.ranges
        ),
    )


async def import_segment(
    saved: SavedSegments,
    image: Path,
    definition: SegmentDefinition,
    *,
    digest: str | None = None,
    first_byte: int | None = None,
    owner: str = OPERATOR,
    advance: Callable[[int], None] = lambda _: None,
) -> Segment:
    """Save a segment from a file: all of it or, with `first_byte`, the part as large as the segment that begins there.

    Raises SpoolError if the content is not what `digest` says, PublishError if it does not fit. `advance` is called, in
    a thread, with the bytes of each part that is copied.
    """
    try:
        image_bytes = await in_thread(partial(regular_size_bytes, image))
        if first_byte is not None:
            image_bytes = min(image_bytes - first_byte, definition.size_bytes)
        if digest is not None and image_bytes != definition.size_bytes:
            raise SpoolError(
                f"segment {definition.name}: found {image_bytes} bytes, wanted the {definition.size_bytes} that were"
                " exported; export it anew"
            )
        fill = file_fill(image, definition.size_bytes, advance, first_byte=first_byte)
        return await saved.store(definition, fill, owner=owner, image_bytes=image_bytes, digest=digest)
    except OSError as error:  # SpoolError and PublishError are some
        raise SpoolError(f"{image}: could not be imported: {error}") from error

"""Segments as files to keep or carry: an image of the saved content, and beside it the manifest, IMAGE.manifest."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.cp.segments.content import file_digest, file_fill, regular_size_bytes, write_content
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import Segment
from dcss.cp.spool.manifest import MAX_MANIFEST_BYTES, Manifest
from dcss.cp.spool.saved import SavedSegments, saved_class
from dcss.cp.threads import in_thread
from dcss.cp.userids import OPERATOR
from dcss.errors import SpoolError
from dcss.host.files import check_replaceable, no_fault, read_regular, write_all, write_durably


def manifest_of(image: Path) -> Path:
    """Return where the manifest of an exported image lies."""
    return image.with_name(image.name + ".manifest")


def export_segment(segment: Segment, image: Path) -> Manifest:
    """Write the saved content of `segment` to `image`, and its manifest. It blocks: call it in a thread.

    Files of those names are replaced whole, or stay as they were. Raises SpoolError, DamagedError if the content is
    not what was saved, ValueError for a skeleton.
    """
    fill = segment.fill
    if fill is None:
        raise ValueError(f"segment {segment.name}: a skeleton has no content to export; save it first")
    digests: list[str] = []

    def write(descriptor: int) -> None:
        os.ftruncate(descriptor, segment.definition.size_bytes)  # holes of the content stay holes
        write_content(segment.definition, fill, descriptor, saved_only=True, drop=True)
        digests.append(file_digest(descriptor))
        if segment.saved_digest not in {None, digests[0]}:
            raise DamagedError(f"its content has digest {digests[0]}, saved was {segment.saved_digest}")

    try:
        image = Path(os.path.realpath(image))
        check_replaceable(manifest_of(image))
        write_durably(image, write, no_fault)
        manifest = Manifest(
            segment.spid,
            0,
            saved_class(segment.definition),
            segment.definition,
            segment.owner,
            segment.created,
            digests[0],
        )
        write_durably(manifest_of(image), lambda descriptor: write_all(descriptor, manifest.pack()), no_fault)
    except OSError as error:
        raise SpoolError(f"segment {segment.name}: could not be exported to {image}: {error}") from error
    return manifest


def read_exported(image: Path) -> Manifest:
    """Return the manifest beside an exported image. Raises SpoolError if there is none, or it is damaged."""
    path = manifest_of(image)
    try:
        return Manifest.unpack(read_regular(path, MAX_MANIFEST_BYTES))
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
    *,
    definition: SegmentDefinition | None = None,
    digest: str | None = None,
    owner: str = OPERATOR,
    advance: Callable[[int], None] = lambda _: None,
) -> Segment:
    """Save a segment from an image: an exported one, or with `definition` any file.

    Raises SpoolError if the content is not what its manifest, or `digest`, says, PublishError if it does not fit.
    `advance` is called, in a thread, with the bytes of each part that is copied.
    """
    if definition is None:
        manifest = await in_thread(partial(read_exported, image))
        definition, digest = manifest.definition, manifest.digest
    try:
        image_bytes = await in_thread(partial(regular_size_bytes, image))
        if digest is not None and image_bytes != definition.size_bytes:
            raise SpoolError(
                f"segment {definition.name}: found {image_bytes} bytes, wanted the {definition.size_bytes} that were"
                " exported; export it anew"
            )
        fill = file_fill(image, definition.size_bytes, advance)
        return await saved.store(definition, fill, owner=owner, image_bytes=image_bytes, digest=digest)
    except OSError as error:  # SpoolError and PublishError are some
        raise SpoolError(f"{image}: could not be imported: {error}") from error

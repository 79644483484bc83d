"""Where `dcss image ls|cat|check|map` read: a file, or segments of a system as they are now."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dcss.abi.extmem import check_adjoining
from dcss.errors import ImageError
from dcss.image.file_source import FileSource
from dcss.image.joined_source import JoinedSource
from dcss.image.opened import OpenedImage, image_source, mounted

if TYPE_CHECKING:
    from dcss.cp.requests import Row
    from dcss.ext2.source import BlockSource


class ImageInput(NamedTuple):
    """An image's bytes, and what messages call it; of segments, where they lie, and the bytes at which one ends."""

    source: "BlockSource"
    path: Path
    address: int = 0
    borders: tuple[int, ...] = ()


@contextmanager
def image_input(image: Path, offset: int, system: str | None) -> Iterator[ImageInput]:
    """Open an image file or, with `system`, the segments that `image` names: one, or ``A:B`` where they adjoin.

    Segments are read in shared memory, as guests see them; one that no guest has loaded yet is read in the spool.
    Raises ImageError where there is nothing to read.
    """
    if system is None:
        with image_source(image, offset) as source:
            yield ImageInput(source, image)
        return
    if offset:
        raise ImageError(f"--offset: found it beside --system {system}, whose segments are read from their first byte")
    with _segments(str(image), system) as found:
        yield found


@contextmanager
def opened_input(image: Path, offset: int, system: str | None) -> Iterator[OpenedImage]:
    """Mount what `image_input` opens. Raises ImageError where it holds no ext2."""
    with image_input(image, offset, system) as found:
        yield OpenedImage(mounted(found.source, found.path), found.source)


@contextmanager
def _segments(names: str, system: str) -> Iterator[ImageInput]:
    from dcss.cli.operator import operator_of
    from dcss.cp.console.query import definition_of
    from dcss.cp.requests import ALL_FILES, Query

    with ExitStack() as stack:
        # What is open stays readable when it is purged, so CP is not held up while it is read.
        with operator_of(system) as operator:
            members = _members(names, system, operator.perform(Query(ALL_FILES)).data or [])
            sources = [FileSource(_open(row, system, stack)) for row in members]
        source = sources[0] if len(sources) == 1 else JoinedSource(sources)
        borders = () if isinstance(source, FileSource) else source.borders
        path = Path(":".join(str(row["name"]) for row in members))
        yield ImageInput(source, path, definition_of(members[0]).start, borders)


def _members(names: str, system: str, rows: "list[Row]") -> "list[Row]":
    """Return the segments that `names` means, in the order of their addresses. Raises ImageError."""
    from dcss.cp.console.query import definition_of
    from dcss.cp.segments.segment import FileClass

    available = {str(row["name"]): row for row in rows if row["class"] in {FileClass.AVAILABLE, FileClass.RESTRICTED}}
    wanted = names.upper().split(":")
    for name in wanted:
        if name not in available:
            known = ", ".join(available) or "none"
            raise ImageError(f"{name}: found no such segment in system {system}, which has {known}")
    members = [available[name] for name in dict.fromkeys(wanted)]
    members.sort(key=lambda row: definition_of(row).start)
    try:
        check_adjoining([definition_of(row) for row in members])
    except ValueError as error:
        raise ImageError(f"{names}: {error}") from error
    return members


def _open(row: "Row", system: str, stack: ExitStack) -> int:
    """Open what a segment holds, until `stack` ends: its object in shared memory, or its content in the spool."""
    from dcss.cp.spool.spool import content_path
    from dcss.host.shm import SHM_DIRECTORY

    shm = row["shm"]
    path = content_path(system, int(str(row["file"]))) if shm is None else Path(f"{SHM_DIRECTORY}{shm}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"segment {row['name']}: {path} cannot be read: {error.strerror}") from error
    stack.callback(os.close, descriptor)
    return descriptor

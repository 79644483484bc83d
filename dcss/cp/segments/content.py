"""What a segment's bytes are when its first user comes: the saved content where a range keeps it, zeros elsewhere."""

import hashlib
import os
from collections.abc import Callable, Iterator
from errno import ENXIO
from pathlib import Path
from typing import NamedTuple

from dcss.abi.extmem import SegmentDefinition, SegmentType
from dcss.abi.page import PAGE_SHIFT
from dcss.errors import PublishError
from dcss.host.cancellation import check_cancelled
from dcss.host.files import open_regular

Fill = Callable[[int], object]  # writes a segment's content to a descriptor positioned at 0; may be called again later
_ZEROS = bytes(1 << 20)
_ZERO_PIECE = bytes(256 << 10)  # what is all zeros is not written
_COPY_BYTES = 16 << 20  # a part, whose copying is reported


class Run(NamedTuple):
    """Consecutive bytes of a segment, from its start."""

    offset_bytes: int
    size_bytes: int


def _shows_content(kind: SegmentType) -> bool:
    """Return True if pages of this type show what was put into them before the first load; CP itself writes SC."""
    return kind.saved or kind is SegmentType.SC


def _any_shows_content(definition: SegmentDefinition) -> bool:
    return any(_shows_content(page_range.type) for page_range in definition.ranges)


def zero_runs(definition: SegmentDefinition, *, saved_only: bool) -> Iterator[Run]:
    """Yield what reads as zeros at first: ranges of type SN and EN, those of SC when saved, the gaps between ranges."""
    offset_bytes = 0
    for page_range in definition.ranges:
        start_bytes = page_range.start - definition.start
        end_bytes = page_range.end - definition.start + 1
        if start_bytes > offset_bytes:
            yield Run(offset_bytes, start_bytes - offset_bytes)
        if not (page_range.type.saved if saved_only else _shows_content(page_range.type)):
            yield Run(start_bytes, end_bytes - start_bytes)
        offset_bytes = end_bytes


def check_image(definition: SegmentDefinition, image_bytes: int | None) -> None:
    """Raise PublishError if an image of `image_bytes`, None if that is not known yet, cannot be the content."""
    if image_bytes is not None and image_bytes > definition.size_bytes:
        raise PublishError(
            f"segment {definition.name}: needs {image_bytes} bytes for its image, has {definition.size_bytes}"
        )
    if image_bytes and not _any_shows_content(definition):
        raise PublishError(
            f"segment {definition.name}: given an image, but pages of types SN and EN read as zeros at first"
        )


def write_content(
    definition: SegmentDefinition, fill: Fill, write_fd: int, *, saved_only: bool = False, drop: bool = False
) -> None:
    """Write the content of a new object or file, whose bytes are zero, by `fill`.

    What `fill` writes into `zero_runs` is made zero with `drop`, as for a guest's storage, which holds anything there.
    Without, it raises PublishError: an image would be cut. `saved_only` is for the spool, which does not keep what CP
    writes into pages of type SC.
    """
    if not _any_shows_content(definition):
        return
    os.lseek(write_fd, 0, os.SEEK_SET)
    fill(write_fd)
    for run in zero_runs(definition, saved_only=saved_only):
        if drop:
            _zero(write_fd, run)
        else:
            _check_zero(definition, write_fd, run)


def is_blank(definition: SegmentDefinition, digest: str | None) -> bool:
    """Return True if a content is zeros alone: its types show none, or `digest` is that of zeros."""
    if not _any_shows_content(definition):
        return True
    if digest is None:
        return False
    zeros = hashlib.sha256()
    for offset_bytes in range(0, definition.size_bytes, len(_ZEROS)):
        zeros.update(memoryview(_ZEROS)[: definition.size_bytes - offset_bytes])
    return zeros.hexdigest() == digest


def rewrite_content(definition: SegmentDefinition, fill: Fill, write_fd: int) -> None:
    """Write an object again that guests have written to."""
    _zero(write_fd, Run(0, definition.size_bytes))
    write_content(definition, fill, write_fd)


def regular_size_bytes(path: Path) -> int:
    """Return the size of a regular file that can be read. Raises WrongKindError, OSError."""
    descriptor = open_regular(path)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def file_fill(
    path: Path,
    max_bytes: int,
    advance: Callable[[int], None] = lambda _: None,
    *,
    follow: bool = True,
    first_byte: int | None = None,
) -> Fill:
    """Return a `Fill` that copies the regular file at `path`; `advance` is called with the bytes of each part.

    With `first_byte` it copies the `max_bytes` that begin there. It raises PublishError for a file that has more than
    `max_bytes`, is empty, or gets shorter meanwhile, and WrongKindError for what is no regular file, a symbolic link
    included without `follow`.
    """

    def fill(write_fd: int) -> None:
        source_fd = open_regular(path, follow=follow)
        try:
            size_bytes = os.fstat(source_fd).st_size if first_byte is None else max_bytes
            if not 0 < size_bytes <= max_bytes:
                raise PublishError(f"{path}: found {size_bytes} bytes, wanted at least 1 and at most {max_bytes}")
            copy_descriptor(source_fd, write_fd, size_bytes, advance, first_byte=first_byte or 0)
        except EOFError as error:
            raise PublishError(f"{path}: got shorter while it was copied, {error}") from error
        finally:
            os.close(source_fd)

    return fill


def copy_descriptor(
    source_fd: int,
    write_fd: int,
    size_bytes: int,
    advance: Callable[[int], None] = lambda _: None,
    *,
    first_byte: int = 0,
) -> None:
    """Copy `size_bytes` of a file from `first_byte` on to where `write_fd` stands, which reads as zeros from there on.

    Holes are not written, nor other zeros. It can be cancelled between two parts. Raises EOFError if there are not so
    many bytes.
    """
    start_bytes = os.lseek(write_fd, 0, os.SEEK_CUR)
    at, last = first_byte, first_byte + size_bytes
    while at < last:
        check_cancelled()
        data_bytes, end_bytes = _next_data(source_fd, at, last)
        part_bytes = data_bytes - at
        if not part_bytes:
            part = Run(at, min(_COPY_BYTES, end_bytes - at))
            part_bytes = _copy_part(source_fd, write_fd, part, start_bytes - first_byte)
        elif os.fstat(source_fd).st_size < data_bytes:
            part_bytes = 0
        if not part_bytes:
            found_bytes = max(0, min(os.fstat(source_fd).st_size - first_byte, size_bytes))
            raise EOFError(f"found {found_bytes} bytes, wanted {size_bytes}")
        at += part_bytes
        advance(part_bytes)
    # What ends in a hole is as long as if it were written.
    end_bytes = os.lseek(write_fd, start_bytes + size_bytes, os.SEEK_SET)
    if os.fstat(write_fd).st_size < end_bytes:
        os.ftruncate(write_fd, end_bytes)


def _copy_part(source_fd: int, write_fd: int, part: Run, shift_bytes: int) -> int:
    """Copy what is not zero of a part of a file, and return how many bytes of it there are."""
    done_bytes = 0
    while done_bytes < part.size_bytes:
        offset_bytes = part.offset_bytes + done_bytes
        piece = os.pread(source_fd, min(len(_ZERO_PIECE), part.size_bytes - done_bytes), offset_bytes)
        copied_bytes = len(piece)
        if piece != (_ZERO_PIECE if copied_bytes == len(_ZERO_PIECE) else bytes(copied_bytes)):
            os.lseek(write_fd, shift_bytes + offset_bytes, os.SEEK_SET)
            copied_bytes = os.sendfile(write_fd, source_fd, offset_bytes, copied_bytes)
        if not copied_bytes:
            break
        done_bytes += copied_bytes
    return done_bytes


def _next_data(descriptor: int, start_bytes: int, size_bytes: int) -> tuple[int, int]:
    """Return where the next data of a file begins and ends; both are `size_bytes` where only a hole is left."""
    try:
        data_bytes = os.lseek(descriptor, start_bytes, os.SEEK_DATA)
    except OSError as error:
        if error.errno != ENXIO:
            raise
        return size_bytes, size_bytes
    return min(data_bytes, size_bytes), min(os.lseek(descriptor, data_bytes, os.SEEK_HOLE), size_bytes)


def file_digest(descriptor: int) -> str:
    """Return the SHA-256 in hex of all that `descriptor` has."""
    digest, buffer, offset_bytes = hashlib.sha256(), memoryview(bytearray(len(_ZEROS))), 0
    while part_bytes := os.preadv(descriptor, [buffer], offset_bytes):
        check_cancelled()
        digest.update(buffer[:part_bytes])
        offset_bytes += part_bytes
    return digest.hexdigest()


def _zero(write_fd: int, run: Run) -> None:
    # Written, not punched out: the pages stay reserved, and CP's mapping keeps its frames.
    for part in _parts(run):
        os.pwrite(write_fd, memoryview(_ZEROS)[: part.size_bytes], part.offset_bytes)


def _check_zero(definition: SegmentDefinition, write_fd: int, run: Run) -> None:
    for part in _parts(run):
        found = os.pread(write_fd, part.size_bytes, part.offset_bytes)
        if found.count(0) < len(found):
            page = (definition.start + part.offset_bytes + len(found) - len(found.lstrip(b"\0"))) >> PAGE_SHIFT
            raise PublishError(
                f"segment {definition.name}: its image has content in page {page:X}, which keeps none (of type SN,"
                " EN or SC, or in no range); define that page as SR, SW, ER or EW, or leave the image out"
            )


def _parts(run: Run) -> Iterator[Run]:
    end_bytes = run.offset_bytes + run.size_bytes
    for offset_bytes in range(run.offset_bytes, end_bytes, len(_ZEROS)):
        check_cancelled()
        yield Run(offset_bytes, min(len(_ZEROS), end_bytes - offset_bytes))

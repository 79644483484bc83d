"""What a segment shows at first: which bytes are zeros by their type, which image fits, and what is made zero."""

import hashlib
import os
from functools import partial
from pathlib import Path

import pytest
from cp_support import define, filler, never_filled

from dcss.cp.segments.content import (
    Run,
    check_image,
    file_digest,
    file_fill,
    is_blank,
    regular_size_bytes,
    rewrite_content,
    write_content,
    zero_runs,
)
from dcss.errors import PublishError
from dcss.host.files import WrongKindError

PAGE = 4096
# Two pages of SR, a gap of one, one of SC, one of SN, two of SW.
MIXED = define("MIXED", "20000-20001 SR", "20003-20003 SC", "20004-20004 SN", "20005-20006 SW")
GAP, SC, SN = Run(2 * PAGE, PAGE), Run(3 * PAGE, PAGE), Run(4 * PAGE, PAGE)
PATTERN = b"".join(bytes([65 + page]) * PAGE for page in range(7))


def shown(*zero: Run) -> bytes:
    content = bytearray(PATTERN)
    for run in zero:
        content[run.offset_bytes : run.offset_bytes + run.size_bytes] = bytes(run.size_bytes)
    return bytes(content)


@pytest.fixture
def descriptor(tmp_path: Path) -> int:
    number = os.open(tmp_path / "object", os.O_RDWR | os.O_CREAT)
    os.ftruncate(number, 7 * PAGE)
    return number


def test_what_reads_as_zeros() -> None:
    assert list(zero_runs(MIXED, saved_only=False)) == [GAP, SN]
    assert list(zero_runs(MIXED, saved_only=True)) == [GAP, SC, SN]
    assert list(zero_runs(define("LIB", "20000-20000 SR"), saved_only=True)) == []
    ends = define("ENDS", "20000-20000 SN", "20001-20001 SR", "20002-20003 SN")
    assert list(zero_runs(ends, saved_only=False)) == [Run(0, PAGE), Run(2 * PAGE, 2 * PAGE)]


@pytest.mark.parametrize(("saved_only", "zero"), [(False, (GAP, SN)), (True, (GAP, SC, SN))])
def test_what_keeps_nothing_is_made_zero_or_refused(descriptor: int, saved_only: bool, zero: tuple[Run, ...]) -> None:
    os.lseek(descriptor, 99, os.SEEK_SET)
    write_content(MIXED, lambda fd: os.write(fd, PATTERN), descriptor, saved_only=saved_only, drop=True)
    assert os.pread(descriptor, 8 * PAGE, 0) == shown(*zero)
    write_content(MIXED, filler(shown(*zero)), descriptor, saved_only=saved_only)
    with pytest.raises(PublishError, match="segment MIXED: its image has content in page 20002, which keeps none"):
        write_content(MIXED, filler(PATTERN), descriptor, saved_only=saved_only)
    only_sn = bytearray(shown(*zero))
    only_sn[5 * PAGE - 1] = 1
    with pytest.raises(PublishError, match="has content in page 20004, which keeps none"):
        write_content(MIXED, filler(bytes(only_sn)), descriptor, saved_only=saved_only)
    os.close(descriptor)


def write_at(place: int, descriptor: int) -> None:
    os.pwrite(descriptor, b"x", place)


def test_long_runs_are_looked_at_to_their_end(tmp_path: Path) -> None:
    long = define("LONG", "20000-20000 SR", "20001-20300 SN")
    with (tmp_path / "object").open("w+b") as file:
        os.ftruncate(file.fileno(), long.size_bytes)
        for page in (0x20001, 0x20100, 0x20101, 0x201FF, 0x20300):
            place = (page - 0x20000) * PAGE + 7
            with pytest.raises(PublishError, match=f"has content in page {page:X}, which keeps none"):
                write_content(long, partial(write_at, place), file.fileno())
            write_content(long, filler(b""), file.fileno(), drop=True)
            assert not any(os.pread(file.fileno(), long.size_bytes, 0))


def test_types_that_show_nothing_are_not_filled(descriptor: int) -> None:
    nothing = define("NOTHING", "20000-20006 EN")
    write_content(nothing, never_filled, descriptor)
    assert is_blank(nothing, "any")
    os.close(descriptor)


def test_a_content_that_guests_changed_is_written_again(descriptor: int) -> None:
    os.pwrite(descriptor, b"\xff" * 7 * PAGE, 0)
    rewrite_content(define("LIB", "20000-20006 SW"), filler(b"again"), descriptor)
    assert os.pread(descriptor, 8 * PAGE, 0) == b"again".ljust(7 * PAGE, b"\0")
    os.close(descriptor)


def test_which_image_can_be_the_content() -> None:
    lib, nothing = define("LIB", "20000-20001 SR"), define("NOTHING", "20000-20001 SN")
    for image_bytes in (None, 0, 1, 2 * PAGE):
        check_image(lib, image_bytes)
    with pytest.raises(PublishError, match="segment LIB: needs 8193 bytes for its image, has 8192"):
        check_image(lib, 8193)
    check_image(nothing, None)
    check_image(nothing, 0)
    with pytest.raises(PublishError, match="segment NOTHING: given an image, but pages of types SN and EN"):
        check_image(nothing, 1)
    check_image(define("C", "20000-20000 SC"), 1)


def filled(tmp_path: Path, content: bytes, max_bytes: int, first_byte: int | None = None) -> tuple[bytes, list[int]]:
    path = tmp_path / "source"
    path.write_bytes(content)
    parts: list[int] = []
    with (tmp_path / "copy").open("w+b") as file:
        file_fill(path, max_bytes, parts.append, first_byte=first_byte)(file.fileno())
        return os.pread(file.fileno(), 1 << 20, 0), parts


def test_a_file_is_copied_whole_or_in_part(tmp_path: Path) -> None:
    assert filled(tmp_path, PATTERN, max_bytes=7 * PAGE) == (PATTERN, [7 * PAGE])
    assert filled(tmp_path, b"x", max_bytes=1) == (b"x", [1])
    assert filled(tmp_path, PATTERN, max_bytes=PAGE, first_byte=PAGE) == (PATTERN[PAGE : 2 * PAGE], [PAGE])
    assert filled(tmp_path, PATTERN, max_bytes=PAGE, first_byte=0)[0] == PATTERN[:PAGE]
    for content, max_bytes in ((b"", 5), (b"123456", 5)):
        with pytest.raises(PublishError, match=f"found {len(content)} bytes, wanted at least 1 and at most 5"):
            filled(tmp_path, content, max_bytes=max_bytes)
    with pytest.raises(PublishError, match=f"got shorter while it was copied, found {PAGE} bytes, wanted {2 * PAGE}"):
        filled(tmp_path, PATTERN, max_bytes=2 * PAGE, first_byte=6 * PAGE)


def test_sizes_and_digests(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = PATTERN * 200  # more than is read at once
    path.write_bytes(content)
    assert regular_size_bytes(path) == len(content)
    with path.open("rb") as file:
        file.seek(17)
        assert file_digest(file.fileno()) == hashlib.sha256(content).hexdigest()
    with pytest.raises(WrongKindError):
        regular_size_bytes(tmp_path)
    with pytest.raises(FileNotFoundError):
        regular_size_bytes(tmp_path / "none")

"""Archives as streams: spans of a file, compressed ones, and parts of either."""

import gzip
import io
import os
from pathlib import Path

import pytest

from dcss.ext2.mkfs.tree import DataRun, StreamStore
from dcss.image.sources.archive import Archive, Span, in_memory, unpacked
from dcss.image.sources.host import HostFile

CONTENT = os.urandom(100_000)


@pytest.fixture
def span(tmp_path: Path) -> Span:
    """Bytes 1000 to 91,000 of a file."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    status = path.stat()
    return Span(HostFile(os.fsencode(path), status.st_size, status.st_mtime_ns), 1000, 90_000, str(path))


def read(archive: Archive) -> bytes:
    with archive.open() as reader:
        return reader.read()


def test_a_span_is_read_and_sought_within_its_bounds(span: Span) -> None:
    assert read(span) == CONTENT[1000:91_000]
    assert span.length_bytes() == 90_000
    with span.open() as reader:
        assert reader.seekable()
        assert reader.seek(89_990) == 89_990
        assert reader.read(100) == CONTENT[90_990:91_000]
        assert reader.seek(-5, io.SEEK_END) == 89_995
        assert reader.read() == CONTENT[90_995:91_000]
        assert reader.seek(-90_000, io.SEEK_CUR) == 0
        assert reader.read(4) == CONTENT[1000:1004]
        assert reader.seek(-5) == 0
        assert reader.read(4) == CONTENT[1000:1004]
        reader.seek(200_000)
        assert reader.read(1) == b""


def test_content_of_a_span_is_copied_from_the_file_itself(span: Span) -> None:
    assert span.seekable is True
    assert span.store() is span.file
    assert span.run(7, 500, 20) == DataRun(7, 1500, 20)


def test_a_part_of_a_span_is_one_of_the_file(span: Span) -> None:
    part = span.part("member", 100, 50)
    assert part == Span(span.file, 1100, 50, f"{span.label}: member")
    assert read(part) == CONTENT[1100:1150]


@pytest.mark.parametrize("name", ["memory", "gzip"])
def test_a_stream_is_its_own_store_and_has_parts(span: Span, name: str) -> None:
    if name == "memory":
        archive = in_memory("memory", CONTENT)
        assert archive.length_bytes() == len(CONTENT)
    else:
        packed = gzip.compress(CONTENT)
        archive = unpacked(in_memory("gzip", packed))
        assert archive.length_bytes() is None
    assert (archive.name, archive.seekable) == (name, False)
    assert archive.run(7, 500, 20) == DataRun(7, 500, 20)
    store = archive.store()
    assert isinstance(store, StreamStore)
    with store.open_stream() as stream:
        assert stream.read() == CONTENT
    part = archive.part("member", 99_000, 50)
    assert (part.name, part.length_bytes()) == (f"{name}: member", 50)
    assert read(part) == CONTENT[99_000:99_050]
    assert read(part.part("inner", 10, 10)) == CONTENT[99_010:99_020]
    assert unpacked(part) is part

"""Segments arrive in chunks that are checked, what is broken off goes on, and the cache keeps within its bound."""

import os
from pathlib import Path

import pytest

from dcss.fleet.cache import SegmentCache, TransferError
from dcss.fleet.content import Content, describe_content, read_chunk

CHUNK = 4096


def made(tmp_path: Path, name: str, data: bytes) -> tuple[Path, Content]:
    path = tmp_path / name
    path.write_bytes(data)
    return path, describe_content(path, CHUNK)


def send(cache: SegmentCache, source: Path, content: Content, chunks: list[int]) -> int:
    sent_bytes = 0
    for index in chunks:
        data = read_chunk(source, content, index)
        cache.store(content.chunk(index), data)
        sent_bytes += len(data)
    return sent_bytes


def test_a_transfer_that_broke_off_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    source, content = made(tmp_path, "source", os.urandom(5 * CHUNK + 77))
    assert send(SegmentCache(tmp_path / "cache"), source, content, [0, 3, 5]) == 2 * CHUNK + 77
    cache = SegmentCache(tmp_path / "cache")  # another process, later
    assert cache.missing(content) == [1, 2, 4]
    with pytest.raises(TransferError, match="3 of its chunks have not arrived"):
        cache.finish(content)
    send(cache, source, content, cache.missing(content))
    assert cache.finish(content).read_bytes() == source.read_bytes()
    assert cache.missing(content) == []


def test_a_host_that_has_the_content_gets_nothing(tmp_path: Path) -> None:
    source, content = made(tmp_path, "source", b"x" * CHUNK)
    cache = SegmentCache(tmp_path / "cache")
    send(cache, source, content, cache.missing(content))
    path = cache.finish(content)
    assert cache.find(content.digest) == path
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [content.digest]


def test_zeros_need_not_be_sent(tmp_path: Path) -> None:
    source, content = made(tmp_path, "source", bytes(3 * CHUNK) + b"end")
    cache = SegmentCache(tmp_path / "cache")
    assert send(cache, source, content, cache.missing(content)) == 3
    assert cache.finish(content).read_bytes() == source.read_bytes()


def test_a_chunk_with_another_content_is_refused_and_sent_again(tmp_path: Path) -> None:
    _, content = made(tmp_path, "source", os.urandom(2 * CHUNK))
    cache = SegmentCache(tmp_path / "cache")
    with pytest.raises(TransferError, match=f"{CHUNK} bytes from {CHUNK} of {2 * CHUNK} arrived with another content"):
        cache.store(content.chunk(1), bytes(CHUNK))
    assert cache.missing(content) == [0, 1]


def test_what_was_damaged_on_the_disk_is_found_before_it_is_used(tmp_path: Path) -> None:
    source, content = made(tmp_path, "source", os.urandom(2 * CHUNK))
    cache = SegmentCache(tmp_path / "cache")
    send(cache, source, content, [0, 1])
    with (tmp_path / "cache" / f"{content.digest}.part").open("r+b") as part:
        part.write(b"damaged")
    assert cache.missing(content) == [0]


def test_the_bound_removes_what_was_used_longest_ago_and_never_what_is_wanted(tmp_path: Path) -> None:
    cache = SegmentCache(tmp_path / "cache", max_bytes=2 * CHUNK)
    contents = []
    for number in range(3):
        source, content = made(tmp_path, f"source{number}", os.urandom(CHUNK))
        contents.append(content)
        send(cache, source, content, [0])
        path = cache.finish(content, keep={contents[0].digest})
        os.utime(path, (number, number))
    kept = {content.digest: cache.find(content.digest) is not None for content in contents}
    assert list(kept.values()) == [True, False, True]

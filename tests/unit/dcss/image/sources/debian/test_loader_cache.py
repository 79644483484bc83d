"""The bytes of /etc/ld.so.cache."""

import struct
from typing import Literal

import pytest
from loader_cache_support import CacheEntry, decode_cache

from dcss.image.sources.debian.loader_cache import CachedLibrary, compare_names, encode_cache

_RISING = (b"", b"a", b"a-", b"aa", b"a1", b"a1.", b"a2", b"a2.2", b"a2.10", b"a10", b"b", b"12")


@pytest.mark.parametrize("index", range(len(_RISING) - 1))
def test_names_compare_by_their_numbers(index: int) -> None:
    assert compare_names(_RISING[index], _RISING[index + 1]) < 0
    assert compare_names(_RISING[index + 1], _RISING[index]) > 0
    assert compare_names(_RISING[index], _RISING[index]) == 0


def test_equal_numbers_of_different_length_are_equal() -> None:
    assert compare_names(b"liba.so.01", b"liba.so.1") == 0


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_entries_lie_in_falling_order_and_in_the_byte_order_asked_for(byte_order: Literal["little", "big"]) -> None:
    libraries = [
        CachedLibrary(b"libb.so.2", b"/lib/libb.so.2", 0x403),
        CachedLibrary(b"libb.so.10", b"/lib/libb.so.10", 0x403),
        CachedLibrary(b"liba.so.1", b"/lib/liba.so.1", 3),
        CachedLibrary(b"liba.so.1", b"/usr/lib/liba.so.1", 0x303),
    ]
    decoded = decode_cache(encode_cache(libraries, byte_order, b"test"))
    assert decoded.byte_order == byte_order
    assert decoded.entries == (
        CacheEntry(0x403, b"libb.so.10", b"/lib/libb.so.10"),
        CacheEntry(0x403, b"libb.so.2", b"/lib/libb.so.2"),
        CacheEntry(0x303, b"liba.so.1", b"/usr/lib/liba.so.1"),
        CacheEntry(3, b"liba.so.1", b"/lib/liba.so.1"),
    )
    assert decoded.generator == b"test"


def test_of_equal_libraries_the_first_one_is_found_first() -> None:
    libraries = [CachedLibrary(b"liba.so.1", path, 3) for path in (b"/b/liba.so.1", b"/a/liba.so.1", b"/c/liba.so.1")]
    decoded = decode_cache(encode_cache(libraries, "big", b""))
    assert [entry.path for entry in decoded.entries] == [b"/b/liba.so.1", b"/a/liba.so.1", b"/c/liba.so.1"]


def test_a_name_shares_the_bytes_of_the_path_that_ends_with_it() -> None:
    content = encode_cache([CachedLibrary(b"liba.so.1", b"/lib/liba.so.1", 3)], "little", b"")
    name, path = struct.unpack_from("<II", content, 48 + 4)
    assert name == path + len(b"/lib/")
    assert content.count(b"liba.so.1") == 1


def test_a_cache_without_libraries_is_whole() -> None:
    assert decode_cache(encode_cache([], "big", b"g")).entries == ()

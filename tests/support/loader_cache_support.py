"""Read /etc/ld.so.cache back."""

import struct
from typing import NamedTuple


class CacheEntry(NamedTuple):
    flags: int
    name: bytes
    path: bytes


class DecodedCache(NamedTuple):
    """Its byte order, its entries in their order, all bytes up to the extension, and the extension's generator."""

    byte_order: str
    entries: tuple[CacheEntry, ...]
    plain: bytes
    generator: bytes


def decode_cache(content: bytes) -> DecodedCache:
    """Return what the cache says; a wrong structure fails an assertion."""
    assert content.startswith(b"glibc-ld.so.cache1.1")
    byte_order = {2: "little", 3: "big"}[content[28]]
    mark = "<" if byte_order == "little" else ">"
    count, strings_bytes, extension_at = struct.unpack_from(f"{mark}II4xI", content, 20)
    entries = []
    for number in range(count):
        flags, name, path, osversion, hwcap = struct.unpack_from(f"{mark}iIIIQ", content, 48 + 24 * number)
        assert (osversion, hwcap) == (0, 0)
        entries.append(CacheEntry(flags, _text(content, name), _text(content, path)))
    assert extension_at == -(-(48 + 24 * count + strings_bytes) // 4) * 4
    magic, sections, tag, flags, at, length_bytes = struct.unpack_from(f"{mark}6I", content, extension_at)
    assert (magic, sections, tag, flags) == (0xEAA42174, 1, 0, 0)
    assert at + length_bytes == len(content)
    return DecodedCache(byte_order, tuple(entries), content[:extension_at], content[at:])


def _text(content: bytes, at: int) -> bytes:
    return content[at : content.index(b"\0", at)]

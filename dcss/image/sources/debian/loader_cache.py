"""Encode /etc/ld.so.cache, by which the dynamic loader finds libraries without searching directories.

Sources: glibc 2.36, sysdeps/generic/dl-cache.h for the layout, elf/cache.c for the order of entries, elf/stringtable.c
for that of strings, elf/dl-cache.c (_dl_cache_libcmp) for how names compare.
"""

import re
import struct
from collections.abc import Iterable
from functools import cmp_to_key
from typing import Final, Literal, NamedTuple

_MAGIC: Final = b"glibc-ld.so.cache1.1"
_HEADER: Final = "20sIIB3xI12x"  # magic, entries, bytes of strings, byte order, offset of the extension
_ENTRY: Final = "iIIIQ"  # flags, offsets of name and path, two fields that are 0 for plain libraries
_EXTENSION: Final = "IIIIII"  # magic, sections; of the only section: tag, flags, offset, bytes
_EXTENSION_MAGIC: Final = 0xEAA42174
_TAG_GENERATOR: Final = 0
_BYTE_ORDERS: Final = {"little": 2, "big": 3}
_PIECES: Final = re.compile(rb"[0-9]+|.", re.DOTALL)


class CachedLibrary(NamedTuple):
    """One entry: a library's name, the path it is found at, and its kind as ldconfig numbers kinds."""

    name: bytes
    path: bytes
    flags: int


def encode_cache(libraries: Iterable[CachedLibrary], byte_order: Literal["little", "big"], generator: bytes) -> bytes:
    """Return the content of the file. Of equal names and kinds, the library given first is found first."""
    ordered = sorted(libraries, key=cmp_to_key(_compare))
    offsets, strings = _string_table({text for library in ordered for text in (library.name, library.path)})
    mark = "<" if byte_order == "little" else ">"
    header, entry, extension = (struct.Struct(mark + form) for form in (_HEADER, _ENTRY, _EXTENSION))
    strings_at = header.size + entry.size * len(ordered)
    extension_at = -(-(strings_at + len(strings)) // 4) * 4
    parts = [header.pack(_MAGIC, len(ordered), len(strings), _BYTE_ORDERS[byte_order], extension_at)]
    for name, path, flags in ordered:
        parts.append(entry.pack(flags, strings_at + offsets[name], strings_at + offsets[path], 0, 0))
    parts.append(strings.ljust(extension_at - strings_at, b"\0"))
    generator_at = extension_at + extension.size
    parts.append(extension.pack(_EXTENSION_MAGIC, 1, _TAG_GENERATOR, 0, generator_at, len(generator)))
    return b"".join((*parts, generator))


def compare_names(left: bytes, right: bytes) -> int:
    """Compare names as the loader's binary search does: runs of digits by their number, all else by bytes.

    The result is negative, zero or positive. A digit sorts behind everything else, and a name behind its own beginning.
    """
    ours, theirs = _PIECES.findall(left), _PIECES.findall(right)
    for one, other in zip(ours, theirs, strict=False):
        if one[:1].isdigit() != other[:1].isdigit():
            return 1 if one[:1].isdigit() else -1
        difference = int(one) - int(other) if one[:1].isdigit() else one[0] - other[0]
        if difference:
            return difference
    return len(ours) - len(theirs)


def _compare(left: CachedLibrary, right: CachedLibrary) -> int:
    return compare_names(right.name, left.name) or right.flags - left.flags


def _string_table(texts: Iterable[bytes]) -> tuple[dict[bytes, int], bytes]:
    """Return the offset of each text, and all of them with NUL behind; one that ends another shares its bytes."""
    offsets: dict[bytes, int] = {}
    table = bytearray()
    previous = b""
    # Compared from their ends and in falling order, a text that ends another comes right behind one that it ends.
    for text in sorted(texts, key=lambda text: text[::-1], reverse=True):
        if offsets and previous.endswith(text):
            offsets[text] = offsets[previous] + len(previous) - len(text)
        else:
            offsets[text] = len(table)
            table += text + b"\0"
        previous = text
    return offsets, bytes(table)

"""Extended headers of pax: records of `LENGTH KEY=VALUE`, which replace fields of the header that follows.

Sources: POSIX.1-2017, pax, "pax Extended Header"; GNU tar's xheader.c for GNU.* and for names of attributes.
"""

import re
from collections.abc import Iterator
from typing import Final

from dcss.image.tar.header import TarFormatError

Records = dict[bytes, bytes]

_LENGTH: Final = re.compile(rb"([0-9]{1,10}) ")
_NUMBER: Final = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")
_XATTR: Final = b"SCHILY.xattr."
_LEFT_OUT: Final = (b"SCHILY.acl.", b"RHT.security.")


def parse_records(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the records in order; GNU.sparse.offset may occur again and again. Raises TarFormatError."""
    records = []
    at = 0
    while at < len(content):
        match = _LENGTH.match(content, at)
        end = at + int(match[1]) if match else 0
        key, equals, value = content[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
        if match is None or end > len(content) or end <= match.end() or content[end - 1] != 0x0A or not equals:
            found = content[at : at + 20]
            raise TarFormatError(f"extended header: found {found!r} at its byte {at}, wanted LENGTH KEY=VALUE")
        records.append((key, value))
        at = end
    return records


def apply(records: Records, changes: list[tuple[bytes, bytes]]) -> Records:
    """Return `records` with `changes`; one without a value takes the earlier one away."""
    changed = {**records, **dict(changes)}
    return {key: value for key, value in changed.items() if value}


def number(records: Records, key: bytes, otherwise: int) -> int:
    """Return the record's value, rounded down to a whole number, or `otherwise`. Raises TarFormatError."""
    value = records.get(key)
    if value is None:
        return otherwise
    match = _NUMBER.fullmatch(value)
    if match is None:
        raise TarFormatError(f"extended header: {key.decode()}: found {value[:40]!r}, wanted a number")
    whole = int(match[2])
    return whole if not match[1] else -whole - bool((match[3] or b"").strip(b"0"))


def text(records: Records, key: bytes) -> bytes | None:
    """Return the bytes of a name, in any character set. Raises TarFormatError for a NUL, which no name holds."""
    value = records.get(key)
    if value is not None and b"\0" in value:
        raise TarFormatError(f"extended header: {key.decode()}: found a NUL in {value[:40]!r}, wanted none")
    return value


def xattrs(records: Records) -> Iterator[tuple[bytes, bytes]]:
    """Yield extended attributes. GNU tar writes = and % in their names as %3D and %25."""
    for key, value in sorted(records.items()):
        if key.startswith(_XATTR):
            yield key[len(_XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%"), value


def left_out(records: Records) -> list[bytes]:
    """Return the keys of records that say more of a file than is kept: ACLs as text, labels."""
    return sorted(key for key in records if key.startswith(_LEFT_OUT))

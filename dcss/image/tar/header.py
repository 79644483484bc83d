"""The 512 bytes that begin every member of a tar.

Sources: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's tar.h. GNU's format has access and change times where
ustar has the prefix of a long name, star has them behind a shorter prefix.
"""

import re
import struct
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 512
_USTAR_MAGIC: Final = b"ustar\0"
_STAR_TRAILER: Final = b"tar\0"
_FIELDS: Final = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")
_NUMBER: Final = re.compile(rb"\0? *([0-7]*)(?:[ \0].*)?", re.DOTALL)


class TarFormatError(ValueError):
    """An archive that is no tar, or is damaged: the message says where, and what was found and wanted."""


class Header(NamedTuple):
    """The fields of a header; `path` has the prefix, `raw` is for what only some types of member have."""

    type: bytes
    path: bytes
    link: bytes
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_s: int
    raw: bytes

    def device(self) -> tuple[int, int]:
        """Return major and minor number. Raises TarFormatError."""
        return parse_number(self.raw[329:337], "devmajor"), parse_number(self.raw[337:345], "devminor")


def parse_header(block: bytes) -> Header:
    """Return the fields of a header. Raises TarFormatError where the checksum is wrong, or a number is none."""
    # fmt: off
    (name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _version, _user, _group, _major, _minor, prefix,
     trailer) = _FIELDS.unpack(block)
    # fmt: on
    _check_sum(block, checksum)
    path = _text(name)
    if magic == _USTAR_MAGIC:
        before = _text(prefix[:131] if trailer.endswith(_STAR_TRAILER) else prefix)
        path = before + b"/" + path if before else path
    return Header(
        type=kind,
        path=path,
        link=_text(link),
        mode=parse_number(mode, "mode"),
        uid=parse_number(uid, "uid"),
        gid=parse_number(gid, "gid"),
        size_bytes=parse_number(size, "size"),
        mtime_s=parse_number(mtime, "mtime"),
        raw=block,
    )


def parse_number(field: bytes, name: str) -> int:
    """Return a number in octal digits, or in base 256 where the first byte says so. Raises TarFormatError."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big", signed=False) - (1 << 8 * len(field) - 8 if field[0] == 0xFF else 0)
    match = _NUMBER.fullmatch(field)
    if match is None:
        raise TarFormatError(f"{name}: found {field!r}, wanted octal digits")
    return int(match[1] or b"0", 8)


def _check_sum(block: bytes, field: bytes) -> None:
    wanted = parse_number(field, "checksum")
    rest = block[:148] + b" " * 8 + block[156:]
    found = sum(rest)
    # Some old programs added signed bytes.
    if wanted not in (found, found - 256 * sum(byte > 127 for byte in rest)):
        raise TarFormatError(f"bad checksum: found {found}, wanted {wanted}")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]

"""Tars as tarfile writes them, and headers made by hand for those that no program writes."""

import io
import tarfile
from pathlib import Path
from typing import Any, Literal

WriteMode = Literal["w:", "w:gz", "w:bz2", "w:xz"]


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """Return what tarfile writes of a member."""
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: WriteMode = "w:", **options: Any) -> Path:
    """Write a tar of these members with their content, and return its path."""
    with tarfile.open(path, mode, encoding="utf-8", errors="surrogateescape", **options) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def content(length: int, seed: int) -> bytes:
    """Return bytes that differ by `seed`."""
    return bytes((seed + number * number) & 0xFF for number in range(length))


def header(
    name: bytes,
    kind: bytes = b"0",
    size_bytes: int = 0,
    *,
    link: bytes = b"",
    mode: int = 0o644,
    mtime_s: int = 0,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """Return the 512 bytes of a header; `magic` is b"ustar  \\0" for GNU's, nothing for V7."""
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            _octal(mode, 8) + _octal(0, 8) + _octal(0, 8) + _octal(size_bytes, 12),
            _octal(mtime_s, 12) if mtime_s >= 0 else b"\xff" + mtime_s.to_bytes(11, "big", signed=True),
            b" " * 8 + kind + link.ljust(100, b"\0") + magic.ljust(8, b"\0") + bytes(64),
            _octal(device[0], 8) + _octal(device[1], 8) + prefix.ljust(155, b"\0"),
        )
    ).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    """Return data as it lies in a tar."""
    return data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """Return an extended header with its records."""
    content = b"".join(_record(key + b"=" + value + b"\n") for key, value in records)
    return header(b"pax", kind, len(content)) + padded(content)


END = bytes(1024)


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _record(rest: bytes) -> bytes:
    length = len(rest) + 2
    while len(str(length)) + 1 + len(rest) != length:
        length = len(str(length)) + 1 + len(rest)
    return b"%d %b" % (length, rest)

"""Tar headers made by hand, for archives that no program writes."""


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

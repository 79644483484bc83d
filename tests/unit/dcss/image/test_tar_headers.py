"""Fields of tar headers and records of extended headers: every form of a number, and what is refused."""

import io
from typing import Any

import pytest
from tar_support import END, header

from dcss.image.tar import pax
from dcss.image.tar.header import TarFormatError, parse_header, parse_number
from dcss.image.tar.reader import TarEntry, TarReader


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"\0  17\0\0\0", 0o17),
        (b"7 rest\0", 7),
        (b"00000000", 0),
        (b"77777777", 0o77777777),
        (b"\0" * 8, 0),
        (b" " * 8, 0),
        (b"\x80" + bytes(6) + b"\x05", 5),
        (b"\x80" + b"\xff" * 7, (1 << 56) - 1),
        (b"\xff" * 8, -1),
        (b"\xff" * 7 + b"\xfe", -2),
        (b"\xff" + bytes(7), -(1 << 56)),
        (b"\xff" + bytes(11), -(1 << 88)),
    ],
)
def test_numbers_of_headers(field: bytes, number: int) -> None:
    assert parse_number(field, "x") == number


@pytest.mark.parametrize("field", [b"8\0", b"12x\0", b"-1\0", b"\x81\0\0\0", b"\xfe\0\0\0"])
def test_what_is_no_number_of_a_header(field: bytes) -> None:
    with pytest.raises(TarFormatError, match=r"x: found .*, wanted octal digits"):
        parse_number(field, "x")


def with_sum(block: bytes, add: int = 0, *, signed: bool = False) -> bytes:
    rest = block[:148] + b" " * 8 + block[156:]
    total = sum(byte - 256 * (signed and byte > 127) for byte in rest) + add
    return block[:148] + b"%06o\0 " % total + block[156:]


def test_check_sums_of_signed_bytes_are_taken_too() -> None:
    block = header("\u00e4\u00f6".encode())
    for signed in (False, True):
        assert parse_header(with_sum(block, signed=signed)).path == "\u00e4\u00f6".encode()
        for add in (-1, 1, 256, -256):
            with pytest.raises(TarFormatError, match=r"bad checksum: found [0-9]+, wanted [0-9]+"):
                parse_header(with_sum(block, add, signed=signed))


@pytest.mark.parametrize(
    ("major", "minor", "device"),
    [
        (b"0000001\0", b"0000002\0", (1, 2)),
        (b"00007777", b"03777777", (0o7777, 0o3777777)),
        (b"\x80" + bytes(5) + b"\x01\x02", b"\x80" + bytes(5) + b"\x03\x04", (0x102, 0x304)),
        (bytes(8), bytes(8), (0, 0)),
    ],
)
def test_device_numbers_have_eight_bytes_each(major: bytes, minor: bytes, device: tuple[int, int]) -> None:
    block = bytearray(header(b"name", b"3"))
    block[329:345] = major + minor
    assert parse_header(with_sum(bytes(block))).device() == device
    block[329:337] = b"9" * 8
    with pytest.raises(TarFormatError, match="devmajor: found"):
        parse_header(with_sum(bytes(block))).device()
    block[329:345] = major + b"9" * 8
    with pytest.raises(TarFormatError, match="devminor: found"):
        parse_header(with_sum(bytes(block))).device()


def prefixed(prefix: bytes, magic: bytes, trailer: bytes = bytes(12)) -> bytes:
    block = bytearray(header(b"name", magic=magic))
    block[345:500] = prefix.ljust(155, b"\0")
    block[500:512] = trailer
    return parse_header(with_sum(bytes(block))).path


def test_a_prefix_comes_before_the_name_where_the_format_has_one() -> None:
    long = b"p" * 155
    assert prefixed(long, b"ustar\x0000") == long + b"/name"
    assert prefixed(b"", b"ustar\x0000") == b"name"
    assert prefixed(b"\0p", b"ustar\x0000") == b"name"
    # star has times behind 131 bytes of prefix; GNU has others instead of any.
    assert prefixed(long, b"ustar\x0000", bytes(8) + b"tar\0") == long[:131] + b"/name"
    assert prefixed(long, b"ustar  \0") == b"name"
    assert prefixed(long, bytes(8)) == b"name"


def test_records_of_extended_headers() -> None:
    assert pax.parse_records(b"6 a=b\n10 path=x\n5 c=\n") == [(b"a", b"b"), (b"path", b"x"), (b"c", b"")]
    assert pax.parse_records(b"") == []
    assert pax.parse_records(b"8 a=b\nc\n") == [(b"a", b"b\nc")]
    assert pax.parse_records(b"8 a=b=c\n") == [(b"a", b"b=c")]


@pytest.mark.parametrize(
    "content", [b"x", b"6 a=b", b"6 a=bX", b"7 a=b\n", b"5 ab\n", b"0 \n", b"2 \n", b"6a=b\n\n", b"-6 a=b\n"]
)
@pytest.mark.parametrize("before", [b"", b"6 a=b\n"])
def test_what_is_no_record(content: bytes, before: bytes) -> None:
    with pytest.raises(TarFormatError, match=f"found .* at its byte {len(before)}, wanted LENGTH KEY=VALUE"):
        pax.parse_records(before + content)


def test_a_record_without_a_value_takes_the_earlier_one_away() -> None:
    assert pax.apply({b"a": b"1", b"b": b"2"}, [(b"a", b""), (b"c", b"3"), (b"c", b"4")]) == {b"b": b"2", b"c": b"4"}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"0", 0),
        (b"12", 12),
        (b"12.", 12),
        (b"12.999999999", 12),
        (b"-12", -12),
        (b"-12.0", -12),
        (b"-12.000000001", -13),
        (b"-0.5", -1),
        (b"-0", 0),
    ],
)
def test_numbers_of_records_are_rounded_down(value: bytes, number: int) -> None:
    assert pax.number({b"mtime": value}, b"mtime", 7) == number


def test_numbers_and_texts_that_records_lack_or_spoil() -> None:
    assert pax.number({}, b"mtime", 7) == 7
    assert pax.text({}, b"path") is None
    assert pax.text({b"path": b"\xff"}, b"path") == b"\xff"
    for value in (b"x", b"1e3", b"1.2.3", b"+1", b"1" * 21):
        with pytest.raises(TarFormatError, match=r"extended header: mtime: found .*, wanted a number"):
            pax.number({b"mtime": value}, b"mtime", 7)
    with pytest.raises(TarFormatError, match=r"extended header: path: found a NUL in .*, wanted none"):
        pax.text({b"path": b"a\0b"}, b"path")


def test_extended_attributes_and_what_is_left_out() -> None:
    records = {
        b"SCHILY.xattr.user.b%3Dc%25": b"1",
        b"SCHILY.xattr.user.a": b"2",
        b"path": b"x",
        b"SCHILY.acl.access": b"text",
        b"RHT.security.selinux": b"label",
        b"SCHILY.ino": b"9",
    }
    assert list(pax.xattrs(records)) == [(b"user.a", b"2"), (b"user.b=c%", b"1")]
    assert pax.left_out(records) == [b"RHT.security.selinux", b"SCHILY.acl.access"]


def entries(content: bytes, **options: Any) -> list[TarEntry]:
    return list(TarReader(io.BufferedReader(io.BytesIO(content)), seekable=True, **options))


def records(*pairs: tuple[str, object]) -> bytes:
    """An extended header with its padding."""
    lines = b""
    for key, value in pairs:
        rest = f" {key}={value}\n".encode()
        length = next(n for n in range(len(rest), len(rest) + 5) if n == len(rest) + len(str(n)))
        lines += str(length).encode() + rest
    return header(b"pax", b"x", len(lines)) + lines.ljust(-(-len(lines) // 512) * 512, b"\0")


SPARSE = (("GNU.sparse.major", 1), ("GNU.sparse.minor", 0), ("GNU.sparse.realsize", 9000), ("GNU.sparse.name", "s"))


def sparse(map_lines: bytes, data: bytes) -> bytes:
    stored = map_lines + data
    return records(*SPARSE) + header(b"s.0", size_bytes=len(stored)) + stored.ljust(-(-len(stored) // 512) * 512, b"\0")


def test_a_sparse_member_with_its_map_before_its_data() -> None:
    map_lines = b"2\n0\n3\n5000\n4\n".ljust(512, b"\0")
    after = header(b"after", size_bytes=1) + b"a".ljust(512, b"\0")
    found, last = entries(sparse(map_lines, b"abcdefg") + after + END)
    assert (found.path, found.size_bytes) == (b"s", 9000)
    start = found.runs[0].archive_offset
    assert [tuple(run) for run in found.runs] == [(0, start, 3), (5000, start + 3, 4)]
    assert last.path == b"after"


@pytest.mark.parametrize(
    "map_lines", [b"2\n0\n3\n", b"1\n0\n", b"1", b"99\n" + b"1\n" * 200], ids=["pair", "number", "line", "blocks"]
)
def test_a_map_that_goes_on_behind_the_data_is_refused(map_lines: bytes) -> None:
    """What follows is another member, whatever it looks like."""
    content = sparse(map_lines.ljust(512, b"0"), b"") + header(b"1\n2\n3\n4\n5\n") + END
    with pytest.raises(TarFormatError, match="sparse member: found"):
        entries(content)


def test_a_map_of_which_no_block_is_left_is_said_so() -> None:
    content = sparse(b"300\n" + b"1\n" * 254, b"") + header(b"next") + END
    with pytest.raises(TarFormatError, match="found its data at an end, wanted the rest of its map"):
        entries(content)


@pytest.mark.parametrize("data", [b"", b"a" * 513, b"a" * 1025])
def test_a_map_that_says_another_amount_of_data_is_refused(data: bytes) -> None:
    map_lines = b"1\n0\n7\n".ljust(512, b"\0")
    with pytest.raises(TarFormatError, match=r"s: found [0-9]+ bytes of sparse data with their padding, wanted 7 as"):
        entries(sparse(map_lines, data) + END)


def sized(kind: bytes, size_bytes: int) -> bytes:
    """A header with a size in base 256, which may be negative."""
    block = bytearray(header(b"name", kind))
    first = b"\xff" if size_bytes < 0 else b"\x80"
    block[124:136] = first + size_bytes.to_bytes(12, "big", signed=True)[1:]
    return with_sum(bytes(block))


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size_bytes", [-1, -512, (16 << 20) + 1])
def test_sizes_of_extended_headers_have_limits(kind: bytes, size_bytes: int) -> None:
    wanted = f"header at byte 0: extended header: found {size_bytes} bytes, wanted at most 16777216"
    with pytest.raises(TarFormatError, match=wanted):
        entries(sized(kind, size_bytes) + bytes(512) + END)


@pytest.mark.parametrize("size_bytes", [-1, -512])
def test_no_member_is_shorter_than_nothing(size_bytes: int) -> None:
    with pytest.raises(TarFormatError, match=f"name: size: found {size_bytes}, wanted 0 or more"):
        entries(sized(b"0", size_bytes) + END)
    (link,) = entries(sized(b"2", size_bytes) + END)  # which has no data, whatever its size says
    assert link.size_bytes == 0


def test_names_in_headers_of_gnu_end_at_the_first_nul() -> None:
    long = header(b"././@LongLink", b"L", 9) + b"lo/ng\0xyz".ljust(512, b"\0")
    link = header(b"././@LongLink", b"K", 4) + b"to\0x".ljust(512, b"\0")
    (found,) = entries(long + link + header(b"short", b"2", link=b"s") + END)
    assert (found.path, found.link) == (b"lo/ng", b"to")


def test_an_extended_header_without_its_member_is_an_error() -> None:
    with pytest.raises(TarFormatError, match="after an extended header, without the member it is of"):
        entries(records(("path", "x")) + END)
    glob = bytearray(records(("uid", 7)))
    glob[:512] = with_sum(bytes(glob[:156] + b"g" + glob[157:512]))
    assert entries(bytes(glob) + END) == []
    first, second = entries(bytes(glob) + header(b"a") + records(("uid", 9)) + header(b"b") + END)
    assert (first.uid, second.uid) == (7, 9)

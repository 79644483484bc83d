from struct import pack

import pytest
from ext2_support import TinyImage, attributes_block

from dcss.abi.ext2 import XATTR_ENTRY_HEAD
from dcss.errors import Ext2FormatError
from dcss.ext2.acl import acl_from_disk


def read(block: bytes) -> dict[bytes, bytes]:
    image = TinyImage()
    at = image.allocate()
    image.write(at, block)
    image.file(12, i_file_acl=at)
    volume = image.volume()
    return volume.xattrs(volume.inode(12))


def test_no_block_no_attributes() -> None:
    image = TinyImage()
    image.file(12)
    volume = image.volume()
    assert volume.xattrs(volume.inode(12)) == {}


def test_names_get_their_prefix_and_values_any_bytes() -> None:
    block = attributes_block(
        (1, b"mime", b"text"),
        (4, b"\xff", b"\0\1"),
        (6, b"selinux", b"u:r\0"),
        (1, b"empty", b""),
        (1, b"x" * 255, b"long"),
    )
    assert read(block) == {
        b"user.mime": b"text",
        b"trusted.\xff": b"\0\1",
        b"security.selinux": b"u:r\0",
        b"user.empty": b"",
        b"user." + b"x" * 255: b"long",
    }


def test_an_index_without_a_handler_is_left_out() -> None:
    assert read(attributes_block((5, b"lov", b"x"), (7, b"data", b"y"), (0, b"z", b"z"), (1, b"a", b"b"))) == {
        b"user.a": b"b"
    }


NOBODY = 0xFFFFFFFF
ON_DISK = (
    pack("<I", 1)
    + pack("<HH", 1, 6)
    + pack("<HHI", 2, 4, 1000)
    + pack("<HH", 4, 4)
    + pack("<HH", 0x10, 4)
    + pack("<HH", 0x20, 0)
)
SEEN = pack("<I", 2) + b"".join(
    pack("<HHI", tag, perm, owner)
    for tag, perm, owner in ((1, 6, NOBODY), (2, 4, 1000), (4, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY))
)


def test_access_lists_are_given_as_programs_know_them() -> None:
    assert read(attributes_block((2, b"", ON_DISK), (3, b"", ON_DISK[:8]))) == {
        b"system.posix_acl_access": SEEN,
        b"system.posix_acl_default": SEEN[:12],
    }


@pytest.mark.parametrize("value", [b"", b"\1\0\0", pack("<I", 2), ON_DISK[:-1], ON_DISK[:12]])
def test_a_value_that_is_no_access_list(value: bytes) -> None:
    assert acl_from_disk(value) is None
    with pytest.raises(Ext2FormatError, match="access control list"):
        read(attributes_block((2, b"", value)))


@pytest.mark.parametrize("header", [{"magic": 0}, {"blocks": 2}, {"blocks": 0}])
def test_a_bad_header(header: dict[str, int]) -> None:
    with pytest.raises(Ext2FormatError, match=r"inode 12: bad block \d+: header: found magic"):
        read(attributes_block((1, b"a", b"b"), **header))


def test_entries_and_values_must_end_inside_the_block() -> None:
    good = attributes_block((1, b"name", b"value"))
    endless = good[:32] + b"\1" * 992
    for name_len in range(200, 256):  # some end at the very end of the block
        with pytest.raises(Ext2FormatError, match="bad block"):
            read(good[:32] + (bytes([name_len]) + b"\1" * 3 + bytes(12)).ljust(16 + name_len, b"n") * 5 + b"\1" * 992)
    with pytest.raises(Ext2FormatError, match="bad block"):
        read(endless[:1024])
    heads = b"".join(XATTR_ENTRY_HEAD.pack(length, 1, 0, 0, 0, 0) + b"n" * length for length in (228, 228, 232, 232))
    with pytest.raises(Ext2FormatError, match="entries: found an entry at byte 1016, wanted four zero bytes"):
        read(good[:32] + heads + b"\1" * 8)
    assert len(read(good[:32] + heads + bytes(8))) == 2
    for offset, size in ((1020, 5), (0xFFFF, 1), (100, 0xFFFFFFFF), (0, 1024), (31, 4)):
        head = XATTR_ENTRY_HEAD.pack(4, 1, offset, 0, size, 0) + b"name"
        with pytest.raises(Ext2FormatError, match="value: found block 0"):
            read(good[:32] + head + bytes(1024 - 52))
    with pytest.raises(Ext2FormatError, match="value: found block 7"):
        read(good[:32] + XATTR_ENTRY_HEAD.pack(4, 1, 100, 7, 4, 0) + b"name" + bytes(1024 - 52))


@pytest.mark.parametrize("block", [256, 0xFFFFFFFF])
def test_the_block_must_lie_on_the_device(block: int) -> None:
    image = TinyImage()
    image.file(12, i_file_acl=block)
    volume = image.volume()
    with pytest.raises(Ext2FormatError, match=rf"i_file_acl: found block {block}, wanted 1\.\.255"):
        volume.xattrs(volume.inode(12))

import struct

import pytest

from dcss.abi.ext2 import XATTR_ENTRY_HEAD, XATTR_HEADER, XattrEntryHead, XattrHeader, XattrIndex
from dcss.errors import ImageError
from dcss.ext2.mkfs.xattrs import block_for, to_disk
from dcss.ext2.xattr_block import Xattr


def test_names_become_an_index_and_the_rest_in_the_kernels_order() -> None:
    kept, unknown = to_disk(
        [
            (b"user.long.name", b"1"),
            (b"security.selinux", b"2"),
            (b"user.b", b"3"),
            (b"user.a", b""),
            (b"btrfs.x", b"4"),
        ]
    )
    assert kept == (
        Xattr(XattrIndex.USER, b"a", b""),
        Xattr(XattrIndex.USER, b"b", b"3"),
        Xattr(XattrIndex.USER, b"long.name", b"1"),
        Xattr(XattrIndex.SECURITY, b"selinux", b"2"),
    )
    assert unknown == (b"btrfs.x",)


def test_a_prefix_alone_is_no_name() -> None:
    assert to_disk([(b"user.", b"x")]) == ((), (b"user.",))


def test_an_acl_loses_the_ids_that_mean_nothing() -> None:
    entries = [
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 5, 1000),
        (0x04, 5, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 4, 0xFFFFFFFF),
    ]
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    ((index, name, packed),), _ = to_disk([(b"system.posix_acl_access", value)])
    assert (index, name) == (XattrIndex.POSIX_ACL_ACCESS, b"")
    assert packed == bytes.fromhex("01000000 01000700 02000500e8030000 04000500 10000700 20000400")


@pytest.mark.parametrize("value", [b"", b"\1\0\0\0", b"\2\0\0\0\1"])
def test_a_broken_acl_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="wanted version 2"):
        to_disk([(b"system.posix_acl_default", value)])


def test_the_block_as_the_kernel_reads_it() -> None:
    block = block_for(b"/x", (Xattr(1, b"abc", b"hello"), Xattr(6, b"s", b"")), 7)
    assert len(block) == 4096
    header = XattrHeader._make(XATTR_HEADER.unpack_from(block))
    assert header[:3] == (0xEA020000, 7, 1)
    first = XattrEntryHead._make(XATTR_ENTRY_HEAD.unpack_from(block, 32))
    assert (first.e_name_len, first.e_name_index, first.e_value_offs, first.e_value_size) == (3, 1, 4088, 5)
    # e_hash of ext2_xattr_hash_entry by hand: name "abc" by shifts of 5, value words "hell" and "o" by shifts of 16.
    value = 0
    for byte in b"abc":
        value = (value << 5 & 0xFFFFFFFF) ^ value >> 27 ^ byte
    for word in struct.unpack("<II", b"hello\0\0\0"):
        value = (value << 16 & 0xFFFFFFFF) ^ value >> 16 ^ word
    assert first.e_hash == value
    assert block[48:51] == b"abc"
    assert block[4088:4096] == b"hello\0\0\0"
    second = XattrEntryHead._make(XATTR_ENTRY_HEAD.unpack_from(block, 52))
    assert (second.e_name_len, second.e_name_index, second.e_value_offs, second.e_value_size) == (1, 6, 0, 0)
    assert block[72:76] == bytes(4)


def test_a_full_block_fits_and_one_byte_more_does_not() -> None:
    room = 4096 - 32 - 16 - 4 - 4
    block_for(b"/x", (Xattr(1, b"abcd", b"v" * room),), 1)
    with pytest.raises(ImageError, match="/x: its extended attributes take 4100 bytes, ext2 has one block of 4096"):
        block_for(b"/x", (Xattr(1, b"abcd", b"v" * (room + 1)),), 1)

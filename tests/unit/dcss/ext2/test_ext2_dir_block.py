import pytest

from dcss.abi.ext2 import DIR_ENTRY_HEAD
from dcss.ext2.dir_block import DirEntry, pack_blocks


def unpack(packed: bytes) -> list[tuple[int, bytes, int, int]]:
    """Return (inode, name, type, rec_len) of every entry, each block read from its start to its end."""
    found = []
    for block in range(0, len(packed), 4096):
        at = block
        while at < block + 4096:
            inode, rec_len, name_length, kind = DIR_ENTRY_HEAD.unpack_from(packed, at)
            found.append((inode, packed[at + 8 : at + 8 + name_length], kind, rec_len))
            assert rec_len >= 8 + name_length
            at += rec_len
        assert at == block + 4096
    return found


def test_the_last_entry_reaches_to_the_end() -> None:
    packed = pack_blocks([DirEntry(2, 2, b"."), DirEntry(2, 2, b".."), DirEntry(12, 1, b"abc")], 4096)
    assert unpack(packed) == [(2, b".", 2, 12), (2, b"..", 2, 12), (12, b"abc", 1, 4096 - 24)]


@pytest.mark.parametrize("length", [1, 4, 247, 248, 249, 255])
def test_entries_never_cross_a_block(length: int) -> None:
    names = (
        [str(number).encode().rjust(length, b"x")[-length:] for number in range(10)]
        if length == 1
        else [b"%04d" % number + b"x" * (length - 4) for number in range(100)]
    )
    found = unpack(pack_blocks([DirEntry(12 + number, 1, name) for number, name in enumerate(names)], 4096))
    assert [(inode, name) for inode, name, *_ in found] == [(12 + number, name) for number, name in enumerate(names)]


def test_empty_blocks_up_to_the_size_asked_for() -> None:
    packed = pack_blocks([DirEntry(11, 2, b"."), DirEntry(2, 2, b"..")], 4096, 16384)
    assert len(packed) == 16384
    assert unpack(packed)[2:] == [(0, b"", 0, 4096)] * 3

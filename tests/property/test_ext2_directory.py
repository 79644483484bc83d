"""Directory blocks of any kind against the kernel's rules, written down once more and plainly."""

from ext2_support import TinyImage, entry
from hypothesis import given
from hypothesis import strategies as st

from dcss.errors import Ext2FormatError

SIZE = 1024
MAX_INODE = 64

names = st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name)
sound_entries = st.lists(
    st.tuples(st.integers(0, MAX_INODE), names, st.integers(0, 255), st.integers(0, 5)), max_size=20
)
odd_entries = st.lists(
    st.tuples(
        st.integers(0, MAX_INODE + 2),
        st.binary(max_size=20),
        st.one_of(st.integers(0, 40), st.sampled_from((1000, 1012, 1020, 1024, 65535))),
        st.integers(0, 255),
    ),
    max_size=12,
)


def in_blocks(packed: list[bytes]) -> bytes:
    """Put entries into blocks, the last of each taking the rest."""
    blocks, here = [], b""
    last = 0
    for one in packed:
        if len(here) + len(one) > SIZE:
            blocks.append(here)
            here = b""
        last = len(here)
        here += one
    blocks.append(here)
    filled = []
    for block in blocks:
        if not block:
            filled.append(entry(0, b"", rec_len=SIZE, name_len=0))
            continue
        at = last_entry(block)
        rest = SIZE - at
        filled.append((block[: at + 4] + rest.to_bytes(2, "little") + block[at + 6 :]).ljust(SIZE, b"\0"))
    assert last < SIZE
    return b"".join(filled)


def last_entry(block: bytes) -> int:
    at = 0
    while at + int.from_bytes(block[at + 4 : at + 6], "little") < len(block):
        at += int.from_bytes(block[at + 4 : at + 6], "little")
    return at


def directory(content: bytes) -> TinyImage:
    image = TinyImage()
    blocks = len(content) // SIZE
    start = image.allocate(blocks)
    image.write(start, content)
    image.inode(2, i_size=len(content), pointers=tuple(range(start, start + blocks)))
    return image


@given(sound_entries)
def test_what_was_packed_is_listed_and_found(wanted: list[tuple[int, bytes, int, int]]) -> None:
    packed = [
        entry(number, name, (8 + len(name) + 3) // 4 * 4 + slack * 4, kind) for number, name, kind, slack in wanted
    ]
    image = directory(in_blocks(packed))
    volume = image.volume()
    root = volume.root()
    assert list(volume.entries(root)) == [(number, kind, name) for number, name, kind, _ in wanted if number]
    for _, name, _, _ in wanted:
        numbers: set[int | None] = {number for number, other, _, _ in wanted if number and other == name}
        assert volume.lookup(root, name) in (numbers or {None})


def kernel_lists(block: bytes) -> list[tuple[int, int, bytes]] | None:
    """Return a block's entries as ext2_readdir does after ext2_check_page, or None where it gives EIO."""
    found = []
    offset = 0
    while offset <= SIZE - 12:
        number = int.from_bytes(block[offset : offset + 4], "little")
        rec_len = int.from_bytes(block[offset + 4 : offset + 6], "little")
        name_len, kind = block[offset + 6], block[offset + 7]
        least = (8 + name_len + 3) // 4 * 4
        if rec_len < 12 or rec_len % 4 or rec_len < least or offset + rec_len > SIZE or number > MAX_INODE:
            return None
        name = block[offset + 8 : offset + 8 + name_len]
        if number:
            # Beyond the kernel's rules: a name that no path can hold.
            if not name or b"/" in name or b"\0" in name:
                return None
            found.append((number, kind, name))
        offset += rec_len
    return found if offset == SIZE else None


def reader_lists(block: bytes) -> list[tuple[int, int, bytes]] | None:
    volume = directory(block).volume()
    try:
        return [(found[0], found[1], found[2]) for found in volume.entries(volume.root())]
    except Ext2FormatError:
        return None


@given(odd_entries, st.booleans())
def test_odd_entries_are_judged_as_the_kernel_does(odd: list[tuple[int, bytes, int, int]], close: bool) -> None:
    block = b"".join(entry(number, name, rec_len, 1, name_len % 32) for number, name, rec_len, name_len in odd)[:SIZE]
    rest = SIZE - len(block)
    if close and rest >= 12:
        block += entry(0, b"", rec_len=rest, name_len=0)
    block = block.ljust(SIZE, b"\0")
    assert reader_lists(block) == kernel_lists(block)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_bytes_at_all(block: bytes) -> None:
    assert reader_lists(block) == kernel_lists(block)

"""Damage images on purpose and read everything: only KernelError and Ext2FormatError may come out, and soon.

A case is a recipe: a base image that is made the same way every time, edits (offset, bytes), and a length to cut it to.
Nothing but the recipe need be kept to see a case again. `tests/fuzz_ext2.py` runs many.
"""

import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from stat import S_IFBLK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFREG
from struct import calcsize, unpack
from types import FrameType
from typing import get_type_hints

from ext2_support import CountingSource, TinyImage, attributes_block, read_everything

from dcss.abi.ext2 import DIR_ENTRY_HEAD, GROUP_DESC, RAW_INODE, SUPERBLOCK_OFFSET, RawInode, Superblock
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.inode import Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

SECONDS_PER_CASE = 5.0
EXPECTED = (KernelError, Ext2FormatError)
BASES = ("tiny-1024", "tiny-2048", "tiny-4096")
WORDS = (0, 1, 2, 7, 11, 12, 255, 256, 1023, 1024, 4095, 65535, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
HALVES = (0, 1, 4, 8, 10, 11, 12, 13, 16, 1012, 1024, 4096, 0x4000, 0x8000, 0xFFFC, 0xFFFF)
PATHS = (b"/dir/deep/up/deep/file", b"/slow", b"/many/name 7", b"/file/", b"/nothing", b"/../dir/../mapped")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One damaged image. `base` is one of BASES or an image's path; edits are offset in bytes and bytes in hex.

    `wanted` is a part of the message that reading everything ends with, where the case is about that.
    """

    base: str
    edits: tuple[tuple[int, str], ...] = ()
    cut_bytes: int | None = None
    note: str = ""
    wanted: str = ""

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**fields, "edits": tuple((at, data) for at, data in fields["edits"])})

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


class TooSlowError(Exception):
    """A case took more processor time than SECONDS_PER_CASE."""


def build(base: str) -> TinyImage:
    """Make a base image with one of everything that a reader decodes."""
    size = int(base.partition("-")[2])
    image = TinyImage(block_size=size, blocks=300, inodes=64)
    attributes = image.allocate()
    image.write(attributes, attributes_block((1, b"note", b"value"), (6, b"selinux", b"label\0"), size=size))
    image.file(21, b"content " * 700, i_file_acl=attributes, i_links_count=50)
    image.inode(20, pointers=unpack("<15I", b"../../dir".ljust(60, b"\0")), i_mode=S_IFLNK, i_links_count=1, i_size=9)
    slow = image.allocate()
    image.write(slow, b"dir/deep/../" * 20)
    image.inode(22, pointers=(slow,), i_mode=S_IFLNK, i_links_count=1, i_size=240, i_blocks=size // 512)
    map_every_level(image, 23)
    image.inode(24, pointers=(0x0103,), i_mode=S_IFCHR | 0o666, i_links_count=1)
    image.inode(25, pointers=(0, 0x12345), i_mode=S_IFBLK | 0o660, i_links_count=1)
    image.inode(26, i_mode=S_IFIFO | 0o600, i_links_count=1)
    image.directory(11, {b".": 11, b"..": 2})
    image.directory(12, {b".": 12, b"..": 2, b"deep": 13})
    image.directory(13, {b".": 13, b"..": 12, b"up": 20, b"file": 21, b"n" * 255: 21})
    image.directory(27, {b".": 27, b"..": 2, **{b"name %d" % i: 21 for i in range(40)}})
    names = {b"dir": 12, b"slow": 22, b"file": 21, b"mapped": 23, b"null": 24, b"disk": 25, b"fifo": 26, b"many": 27}
    image.directory(2, {b".": 2, b"..": 2, b"lost+found": 11, **names})
    return image


def map_every_level(image: TinyImage, number: int) -> None:
    """Make a sparse file with direct blocks and three trees of pointers."""
    single, double, below_double, triple, below_triple, lowest = range(start := image.allocate(6), start + 6)
    data = image.allocate(100)
    image.pointers(single, {0: data, 1: data + 1, 5: data + 9})
    image.pointers(double, {0: below_double})
    image.pointers(below_double, {i: data + 20 + i for i in range(40)})
    image.pointers(triple, {3: below_triple})
    image.pointers(below_triple, {4: lowest})
    image.pointers(lowest, {5: data + 80})
    pointers = (data + 90, data + 91, 0, data + 92, *[0] * 8, single, double, triple)
    image.inode(number, pointers=pointers, i_mode=S_IFREG | 0o755, i_links_count=1, i_size=0, i_dir_acl=1, i_blocks=200)


@dataclass(frozen=True, slots=True)
class Sound:
    """A base image and where in it damage is worth the while."""

    data: bytes
    blocks: int
    reads: list[tuple[int, int]]  # what a reader of everything looks at
    inodes: list[int]  # offsets of the inodes in use
    entries: list[int]  # offsets of directory entries
    pointer_blocks: list[int]


@cache
def sound(base: str) -> Sound:
    """Look at a base image once."""
    data = bytes(build(base).data) if base in BASES else Path(base).read_bytes()
    source = CountingSource(data)
    volume = read_everything(source)
    inodes = {inode.number: inode for _, inode in volume.walk()}
    table = volume.group(0).bg_inode_table * volume.block_size_bytes
    per_group, inode_size = volume.superblock.s_inodes_per_group, max(volume.superblock.s_inode_size, 128)
    pointer_blocks: list[int] = []
    entries: list[int] = []
    for inode in inodes.values():
        if inode.has_block_map:
            pointer_blocks += volume.indirect_blocks(inode)
        for run in volume.runs(inode) if inode.is_dir else ():
            entries += _entries(data, run.disk_block * volume.block_size_bytes, run.blocks * volume.block_size_bytes)
    return Sound(
        data=data,
        blocks=volume.block_count,
        reads=source.reads,
        inodes=[table + (number - 1) * inode_size for number in inodes if number <= per_group],
        entries=entries,
        pointer_blocks=pointer_blocks,
    )


def _entries(data: bytes, start: int, length: int) -> Iterator[int]:
    at = start
    while at < start + length:
        yield at
        at += DIR_ENTRY_HEAD.unpack_from(data, at)[1]


class Damage:
    """Makes recipes; the same seed and number make the same one."""

    def __init__(self, seed: int, bases: tuple[str, ...] = BASES) -> None:
        self.seed = seed
        self.bases = bases

    def recipe(self, number: int) -> Recipe:
        """Return case `number`: usually one kind of damage, at times several, at times cut short."""
        chance = random.Random(f"{self.seed}/{number}")
        base = chance.choice(self.bases)
        image = sound(base)
        edits: list[tuple[int, str]] = []
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            kind = chance.choice(KINDS)
            for at, new in kind(chance, image):
                if at + len(new) <= len(image.data):
                    edits.append((at, new.hex()))
        cut_bytes = chance.randrange(len(image.data)) if chance.random() < 0.03 else None
        return Recipe(base, tuple(edits), cut_bytes, f"seed {self.seed} case {number}")


Edits = Iterator[tuple[int, bytes]]


def _word(chance: random.Random, image: Sound) -> bytes:
    return chance.choice((chance.choice(WORDS), chance.randrange(image.blocks + 2), chance.getrandbits(32))).to_bytes(
        4, "little"
    )


def _read_at(chance: random.Random, image: Sound) -> int:
    offset, length = chance.choice(image.reads)
    return offset + chance.randrange(length)


def bytes_anywhere(chance: random.Random, image: Sound) -> Edits:
    for _ in range(chance.choice((1, 1, 2, 8))):
        yield _read_at(chance, image), bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.getrandbits(8)))])


def one_bit(chance: random.Random, image: Sound) -> Edits:
    at = _read_at(chance, image)
    yield at, bytes([image.data[at] ^ 1 << chance.randrange(8)])


def a_word_anywhere(chance: random.Random, image: Sound) -> Edits:
    yield _read_at(chance, image) & ~3, _word(chance, image)


def a_stretch(chance: random.Random, image: Sound) -> Edits:
    length = chance.choice((8, 32, 128, 1024))
    filling = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
    yield _read_at(chance, image), filling


def a_copy(chance: random.Random, image: Sound) -> Edits:
    length, at = chance.choice((4, 8, 128, 1024)), _read_at(chance, image) & ~3
    yield _read_at(chance, image) & ~3, image.data[at : at + length]


def a_superblock_field(chance: random.Random, image: Sound) -> Edits:
    index = chance.randrange(len(Superblock._fields) - 1)
    yield SUPERBLOCK_OFFSET + _offset_of(Superblock, index), _word(chance, image)[: chance.choice((1, 2, 4))]


def a_descriptor(chance: random.Random, image: Sound) -> Edits:
    table, length = image.reads[1]
    yield (
        table + chance.randrange(length // GROUP_DESC.size) * GROUP_DESC.size + chance.randrange(0, 20, 2),
        _word(chance, image),
    )


def an_inode_field(chance: random.Random, image: Sound) -> Edits:
    at, index = chance.choice(image.inodes), chance.randrange(len(RawInode._fields))
    yield at + _offset_of(RawInode, index), _word(chance, image)[: chance.choice((2, 4))]


def a_block_pointer(chance: random.Random, image: Sound) -> Edits:
    other = chance.choice((*image.pointer_blocks, chance.randrange(image.blocks)))
    yield chance.choice(image.inodes) + 40 + 4 * chance.randrange(15), other.to_bytes(4, "little")


def a_huge_size(chance: random.Random, image: Sound) -> Edits:
    at = chance.choice(image.inodes)
    yield at + 4, _word(chance, image)
    yield at + 108, _word(chance, image)


def an_inode_elsewhere(chance: random.Random, image: Sound) -> Edits:
    one, other = chance.choice(image.inodes), chance.choice(image.inodes)
    yield one, image.data[other : other + RAW_INODE.size]


def an_entry(chance: random.Random, image: Sound) -> Edits:
    at = chance.choice(image.entries)
    field = chance.randrange(4)
    if field == 0:
        yield at, chance.choice((2, 11, 12, 13, 21, 27, chance.getrandbits(32))).to_bytes(4, "little")
    elif field == 1:
        yield at + 4, chance.choice((*HALVES, chance.getrandbits(16))).to_bytes(2, "little")
    else:
        yield at + 4 + field, bytes([chance.getrandbits(8)])


def a_name(chance: random.Random, image: Sound) -> Edits:
    yield chance.choice(image.entries) + 8, chance.choice((b"/", b"\0", b".", b"..", b"dir"))


def pointers_in_circles(chance: random.Random, image: Sound) -> Edits:
    if image.pointer_blocks:
        block_size = len(image.data) // image.blocks
        block, other = chance.choice(image.pointer_blocks), chance.choice(image.pointer_blocks)
        count = chance.choice((1, 2, block_size // 4))
        at = chance.randrange(block_size // 4 - count + 1)
        yield block * block_size + at * 4, other.to_bytes(4, "little") * count


KINDS: tuple[Callable[[random.Random, Sound], Edits], ...] = (
    bytes_anywhere, one_bit, a_word_anywhere, a_stretch, a_copy, a_superblock_field, a_descriptor, an_inode_field,
    a_block_pointer, a_huge_size, an_inode_elsewhere, an_entry, a_name, pointers_in_circles,
)  # fmt: skip


@cache
def _offset_of(record: type[Superblock] | type[RawInode], index: int) -> int:
    """Return the offset of a field: the size of those before it."""
    hints = get_type_hints(record, include_extras=True)
    return calcsize("<" + "".join(hints[name].__metadata__[0] for name in record._fields[:index]))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlowError in the block after so much processor time; main thread only."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def damaged(recipe: Recipe) -> BufferSource:
    """Make the damaged image."""
    data = bytearray(sound(recipe.base).data)
    for at, new in recipe.edits:
        data[at : at + len(new) // 2] = bytes.fromhex(new)
    if recipe.cut_bytes is not None:
        del data[recipe.cut_bytes :]
    return BufferSource(data)


def run(recipe: Recipe) -> None:
    """Make the damaged image and read all of it. Anything that comes out of here is a fault of the reader."""
    with time_limit(SECONDS_PER_CASE):
        exercise(damaged(recipe))


def exercise(source: BufferSource) -> None:
    """Use every read on every inode; one that fails as it should does not keep the next from being tried."""
    for read_only in (True, False):
        try:
            volume = Volume.mount(source, read_only=read_only)
        except KernelError:
            continue
        break
    else:
        return
    for number in range(min(volume.superblock.s_inodes_count, 80) + 2):
        with suppress(*EXPECTED):
            volume.inode(number)
        with suppress(*EXPECTED):
            use(source, volume, volume.inode_slot(number))
    with suppress(*EXPECTED):
        for path, inode in volume.walk():
            assert volume.inode(inode.number) == inode, path
    for path in PATHS:
        with suppress(*EXPECTED):
            volume.resolve(path)
        with suppress(*EXPECTED):
            volume.resolve(path, follow=False)
    for number in (-1, 0, volume.group_count - 1, volume.group_count):
        with suppress(*EXPECTED):
            volume.group(number)


def use(source: BufferSource, volume: Volume, inode: Inode) -> None:
    """Do everything with one inode, and check what comes back for sense."""
    with suppress(*EXPECTED):
        volume.readlink(inode)
    with suppress(*EXPECTED):
        volume.xattrs(inode)
    with suppress(*EXPECTED):
        for block in volume.indirect_blocks(inode):
            assert len(source.bytes_at(block * volume.block_size_bytes, 1)) == 1
    with suppress(*EXPECTED):
        check_runs(source, volume, inode)
    with suppress(*EXPECTED):
        check_entries(volume, inode)


def check_runs(source: BufferSource, volume: Volume, inode: Inode) -> None:
    """Runs follow one another without a gap, lie on the device, and agree with get_block."""
    next_block = 0
    for number, run in enumerate(volume.runs(inode)):
        assert run.file_block == next_block
        assert run.blocks > 0
        next_block += run.blocks
        if run.disk_block:
            start, length = run.disk_block * volume.block_size_bytes, run.blocks * volume.block_size_bytes
            assert len(source.bytes_at(start, length)) == length
        if number < 50:
            assert volume.get_block(inode, run.file_block) == run.disk_block
            last = run.disk_block and run.disk_block + run.blocks - 1
            assert volume.get_block(inode, run.file_block + run.blocks - 1) == last
    assert next_block == -(-inode.size_bytes // volume.block_size_bytes)


def check_entries(volume: Volume, inode: Inode) -> None:
    """Every name that a sound directory lists can be looked up, the first of its kind unless it is there twice."""
    listed: dict[bytes, set[int]] = {}
    for found in volume.entries(inode):
        listed.setdefault(found.name, set()).add(found.inode)
    indexed = volume.inode(inode.number) == inode
    for name, numbers in listed.items() if indexed else ():
        assert volume.lookup(inode, name) in numbers

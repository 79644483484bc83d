"""What was changed in memory: kept, refused where nothing may be written, and written in order."""

from collections.abc import Callable
from errno import EROFS

import pytest
from ext2_support import TinyImage

from dcss.abi.ext2 import GROUP_DESC, RAW_INODE, SUPERBLOCK, SUPERBLOCK_OFFSET, RawInode, Superblock
from dcss.errors import KernelError
from dcss.ext2.source import BufferSource, WritableSource
from dcss.ext2.volume import Volume


class RecordingSource:
    """A WritableSource that notes the offset of each write, and each flush as -1."""

    def __init__(self, buffer: bytearray) -> None:
        self._source = BufferSource(buffer, writable=True)
        self.size_bytes = self._source.size_bytes
        self.events: list[int] = []

    def bytes_at(self, offset: int, length: int) -> memoryview:
        return self._source.bytes_at(offset, length)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.events.append(offset)
        self._source.write(offset, data)

    def discard(self, offset: int, length: int) -> None:
        pass

    def flush(self) -> None:
        self.events.append(-1)


@pytest.fixture
def image() -> TinyImage:
    image = TinyImage()
    image.directory(2, {b".": 2, b"..": 2, **{b"f%d" % i: i for i in range(12, 40)}})
    for number in range(12, 40):
        image.file(number, b"content of %d" % number)
    return image


def writable(image: TinyImage) -> Volume:
    return Volume.mount(BufferSource(image.data, writable=True), read_only=False)


def raw_inode(image: TinyImage, number: int) -> RawInode:
    return RawInode._make(RAW_INODE.unpack_from(image.data, image.table * image.block_size + (number - 1) * 128))


def test_a_changed_inode_is_written_by_sync_and_its_neighbours_are_not(image: TinyImage) -> None:
    before = bytes(image.data)
    volume = writable(image)
    inode = volume.inode(13)
    inode.mode, inode.uid, inode.mtime = inode.mode & ~0o777 | 0o600, 0x12345, -5
    volume.mark_inode_dirty(inode)
    assert volume.dirty
    assert bytes(image.data) == before
    volume.sync()
    assert not volume.dirty
    assert not inode.dirty
    raw = raw_inode(image, 13)
    assert (raw.i_mode & 0o777, raw.i_uid, raw.i_uid_high, raw.i_mtime) == (0o600, 0x2345, 1, 0xFFFFFFFB)
    at = image.table * image.block_size + 12 * 128
    assert image.data[at + 128 :] == before[at + 128 :]
    assert image.data[2048:at] == before[2048:at]


def test_write_inode_writes_one_and_leaves_the_others_dirty(image: TinyImage) -> None:
    volume = writable(image)
    first, second = volume.inode(12), volume.inode(13)
    first.links_count = second.links_count = 7
    volume.mark_inode_dirty(first)
    volume.mark_inode_dirty(second)
    volume.write_inode(first)
    assert (raw_inode(image, 12).i_links_count, raw_inode(image, 13).i_links_count) == (7, 1)
    assert volume.dirty
    volume.write_inode(first)  # clean by now: nothing to do
    volume.sync()
    assert raw_inode(image, 13).i_links_count == 7


def test_counts_of_groups_and_superblock_keep_all_that_is_beside_them(image: TinyImage) -> None:
    image.desc(0, bg_pad=0x1234, bg_reserved=bytes(range(12)))
    image.superblock(s_volume_name=b"keep me".ljust(16, b"\0"), s_reserved=bytes(range(256)) * 2 + bytes(248))
    volume = writable(image)
    volume.set_group(0, volume.group(0)._replace(bg_free_blocks_count=77))
    volume.set_superblock(volume.superblock._replace(s_free_blocks_count=77, s_mnt_count=3))
    assert volume.group(0).bg_free_blocks_count == 77
    assert volume.superblock.s_free_blocks_count == 77
    volume.sync()
    fresh = image.volume()
    assert fresh.group(0) == volume.group(0)
    assert fresh.group(0).bg_reserved == bytes(range(12))
    assert fresh.superblock == volume.superblock
    assert fresh.superblock.s_reserved == bytes(range(256)) * 2 + bytes(248)
    assert fresh.superblock.s_wtime > 0


def test_inodes_go_first_and_the_superblock_last(image: TinyImage) -> None:
    source = RecordingSource(image.data)
    assert isinstance(source, WritableSource)
    volume = Volume.mount(source, read_only=False)
    volume.set_superblock(volume.superblock._replace(s_mnt_count=1))
    volume.set_group(0, volume.group(0)._replace(bg_used_dirs_count=1))
    for number in (20, 12):
        volume.mark_inode_dirty(volume.inode(number))
    volume.sync()
    table = image.table * image.block_size
    assert source.events == [table + 11 * 128, table + 19 * 128, 2048, SUPERBLOCK_OFFSET, -1]
    source.events.clear()
    volume.sync()
    assert source.events == [-1]


@pytest.mark.parametrize("read_only", [True, False])
def test_nothing_is_changed_on_what_is_read_only(image: TinyImage, read_only: bool) -> None:
    source = BufferSource(image.data, writable=read_only)  # a mount that is read-only, or a device that is
    volume = Volume.mount(source, read_only=read_only)
    before = bytes(image.data)
    if read_only:
        changes: tuple[Callable[[], None], ...] = (
            lambda: volume.mark_inode_dirty(volume.inode(12)),
            lambda: volume.set_group(0, volume.group(0)),
            lambda: volume.set_superblock(volume.superblock),
        )
        for change in changes:
            with pytest.raises(KernelError) as refused:
                change()
            assert refused.value.errno == EROFS
    else:
        volume.mark_inode_dirty(volume.inode(12))
        with pytest.raises(KernelError) as refused:
            volume.sync()
        assert refused.value.errno == EROFS
        assert volume.dirty
    assert bytes(image.data) == before


def test_a_revision_too_new_is_read_only_whatever_was_asked_for(image: TinyImage) -> None:
    image.superblock(s_rev_level=9)
    volume = writable(image)
    assert volume.read_only
    with pytest.raises(KernelError):
        volume.mark_inode_dirty(volume.inode(12))


def test_invalidate_keeps_what_is_not_written_yet(image: TinyImage) -> None:
    volume = writable(image)
    changed, clean = volume.inode(12), volume.inode(13)
    changed.size_bytes = clean.size_bytes = 5
    volume.mark_inode_dirty(changed)
    volume.set_group(0, volume.group(0)._replace(bg_free_inodes_count=3))
    volume.invalidate()
    assert volume.inode(12) is changed
    assert volume.inode(13) is not clean
    assert volume.inode(13).size_bytes == len(b"content of 13")
    assert volume.group(0).bg_free_inodes_count == 3


def test_structures_survive_being_read_and_written() -> None:
    raw = bytes(range(256)) * 4
    assert SUPERBLOCK.pack(*Superblock._make(SUPERBLOCK.unpack(raw))) == raw
    assert GROUP_DESC.pack(*GROUP_DESC.unpack(raw[:32])) == raw[:32]

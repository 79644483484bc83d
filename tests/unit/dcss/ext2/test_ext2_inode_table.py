"""One object for each inode number, for as long as anybody holds it."""

import gc

import pytest
from ext2_support import CountingSource, TinyImage

from dcss.ext2.source import BufferSource
from dcss.ext2.tables import CacheSizes
from dcss.ext2.volume import Volume

SLOTS = 8
SMALL = CacheSizes(inodes=SLOTS)


@pytest.fixture
def image() -> TinyImage:
    image = TinyImage()
    for number in range(12, 64):
        image.file(number)
    return image


def crowd_out(volume: Volume) -> None:
    for number in range(30, 60):
        volume.inode(number)


def test_who_asks_twice_gets_the_same(image: TinyImage) -> None:
    volume = image.volume(caches=SMALL)
    assert volume.inode(12) is volume.inode(12)


def test_an_inode_that_is_held_stays_the_same_when_others_crowd_it_out(image: TinyImage) -> None:
    volume = image.volume(caches=SMALL)
    held = volume.inode(12)
    crowd_out(volume)
    assert volume.inode(12) is held
    crowd_out(volume)
    crowd_out(volume)
    assert volume.inode(12) is held


def test_an_inode_that_nobody_holds_is_read_again(image: TinyImage) -> None:
    source = CountingSource(image.data)
    volume = Volume.mount(source, caches=SMALL)
    volume.inode(12)
    crowd_out(volume)
    source.reads.clear()
    volume.inode(12)
    assert source.reads


def test_the_table_is_bounded_by_its_slots_and_by_who_holds_what(image: TinyImage) -> None:
    volume = image.volume(caches=SMALL)
    held = [volume.inode(number) for number in range(12, 28)]
    crowd_out(volume)
    assert len(volume.tables.inodes) == SLOTS + len(held)
    gc.disable()
    try:
        del held
        assert len(volume.tables.inodes) == SLOTS
    finally:
        gc.enable()


def test_a_dirty_inode_stays_until_it_is_written(image: TinyImage) -> None:
    volume = Volume.mount(BufferSource(image.data, writable=True), read_only=False, caches=SMALL)
    inode = volume.inode(12)
    inode.links_count = 5
    volume.mark_inode_dirty(inode)
    del inode
    crowd_out(volume)
    assert volume.inode(12).links_count == 5
    volume.sync()
    crowd_out(volume)
    assert len(volume.tables.inodes) == SLOTS
    assert volume.inode(12).links_count == 5


def test_slots_are_looked_at_as_they_are_on_the_device(image: TinyImage) -> None:
    volume = image.volume(caches=SMALL)
    inode = volume.inode(12)
    inode.links_count = 9
    assert volume.inode_slot(12) is not inode
    assert volume.inode_slot(12).links_count == 1

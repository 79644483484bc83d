"""Inodes of any content: what is read and written back is the same, byte for byte."""

from ext2_support import TinyImage
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.ext2 import DEFM_UID16, RAW_INODE, RawInode
from dcss.ext2.inode import encode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

SIZES = st.sampled_from((128, 256, 512, 1024))
INODE = 12


def image_with(raw: bytes, *, narrow_owners: bool) -> tuple[TinyImage, int]:
    """Return an image with one inode of these bytes, and the offset it lies at."""
    image = TinyImage(inodes=16 * len(raw) // 128)
    image.superblock(
        s_inode_size=len(raw), s_inodes_per_group=16, s_inodes_count=16, s_default_mount_opts=narrow_owners * DEFM_UID16
    )
    at = image.table * image.block_size + (INODE - 1) * len(raw)
    image.data[at : at + len(raw)] = raw
    return image, at


@given(raw=SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size)), narrow_owners=st.booleans())
def test_an_inode_written_back_is_as_it_was(raw: bytes, narrow_owners: bool) -> None:
    image, at = image_with(raw, narrow_owners=narrow_owners)
    volume = Volume.mount(BufferSource(image.data, writable=True), read_only=False)
    inode = volume.inode_slot(INODE)
    before = bytes(image.data)
    volume.mark_inode_dirty(inode)
    volume.write_inode(inode)
    assert bytes(image.data) == before
    fields = RawInode._make(RAW_INODE.unpack(raw[:128]))
    assert encode(inode, fields, has_wide_owners=not narrow_owners) == fields
    assert image.data[at : at + len(raw)] == raw


seconds = st.integers(-(1 << 31), (1 << 31) - 1)


@given(
    raw=SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    owners=st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1)),
    times=st.tuples(seconds, seconds, seconds),
    size_bytes=st.integers(0, (1 << 63) - 1),
    pointers=st.lists(st.integers(0, (1 << 32) - 1), min_size=15, max_size=15),
)
def test_what_is_changed_is_read_again_and_the_rest_is_kept(
    raw: bytes, owners: tuple[int, int], times: tuple[int, int, int], size_bytes: int, pointers: list[int]
) -> None:
    image, at = image_with(raw, narrow_owners=False)
    volume = Volume.mount(BufferSource(image.data, writable=True), read_only=False)
    inode = volume.inode_slot(INODE)
    inode.uid, inode.gid = owners
    inode.atime, inode.ctime, inode.mtime = times
    inode.size_bytes = size_bytes if inode.is_regular else size_bytes & 0xFFFFFFFF
    inode.block_pointers = tuple(pointers)
    volume.mark_inode_dirty(inode)
    volume.sync()
    again = volume.inode_slot(INODE)
    assert (again.uid, again.gid) == owners
    assert (again.atime, again.ctime, again.mtime) == times
    assert (again.size_bytes, again.block_pointers) == (inode.size_bytes, tuple(pointers))
    assert (again.mode, again.flags, again.generation) == (inode.mode, inode.flags, inode.generation)
    old, new = (RawInode._make(RAW_INODE.unpack_from(data)) for data in (raw, image.data[at : at + 128]))
    assert (new.i_osd1, new.i_faddr, new.i_frag, new.i_fsize, new.i_pad1, new.i_reserved2) == (
        old.i_osd1,
        old.i_faddr,
        old.i_frag,
        old.i_fsize,
        old.i_pad1,
        old.i_reserved2,
    )
    assert image.data[at + 128 : at + len(raw)] == raw[128:]

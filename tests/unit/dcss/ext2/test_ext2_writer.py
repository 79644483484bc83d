"""What changes a volume: names, inodes and blocks, and what must stay as it was where an operation is refused."""

from collections.abc import Callable, Iterator
from errno import EEXIST, EFBIG, EMLINK, ENAMETOOLONG, ENODATA, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EOPNOTSUPP, EROFS
from pathlib import Path
from stat import S_IFBLK, S_IFDIR, S_ISGID

import pytest
from ext2_support import content, debugfs, e2fs, make_image

from dcss.abi.ext2 import LINK_MAX, VALID_FS, RoCompat
from dcss.errors import Ext2FormatError, KernelError
from dcss.ext2.inode import Inode, InodeChange
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from dcss.ext2.write.attributes import XATTR_CREATE, XATTR_REPLACE
from dcss.ext2.write.writer import Caller, VolumeWriter

BLOCK = 1024
USER = Caller(uid=1000, gid=100, privileged=False)


class Mounted:
    """An image of its own, mounted for writing; `check` writes it back and runs e2fsck."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())
        self.source = BufferSource(self.data, writable=True)
        self.volume = Volume.mount(self.source, read_only=False)
        self.writer = VolumeWriter(self.volume)
        self.root = self.volume.root()

    def check(self, *, closed: bool = True) -> None:
        if closed:
            self.writer.close()
        self.path.write_bytes(self.data)
        e2fs("e2fsck", "-fn", self.path)

    def free(self) -> tuple[int, int]:
        block = self.volume.superblock
        return block.s_free_blocks_count, block.s_free_inodes_count

    def file(self, name: bytes, data: bytes = b"") -> Inode:
        inode = self.writer.create(self.root, name)
        assert self.writer.files.write(inode, 0, data) == len(data)
        return inode


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    image = make_image(tmp_path / "image", "400k", "-b", str(BLOCK), "-N", "64", "-O", "^resize_inode")
    yield Mounted(image)


def refused(errno: int, call: Callable[[], object]) -> None:
    with pytest.raises(KernelError) as caught:
        call()
    assert caught.value.errno == errno, caught.value


def test_a_mount_for_writing_is_counted_and_unclean_until_it_ends(mounted: Mounted) -> None:
    before = Volume.mount(BufferSource(mounted.path.read_bytes())).superblock
    during = Volume.mount(BufferSource(bytes(mounted.data))).superblock
    assert during.s_mnt_count == before.s_mnt_count + 1
    assert before.s_state & VALID_FS
    assert not during.s_state & VALID_FS
    mounted.writer.close()
    after = Volume.mount(BufferSource(bytes(mounted.data))).superblock
    assert after.s_state == before.s_state
    assert after.s_mtime >= before.s_mtime
    assert after.s_free_blocks_count == before.s_free_blocks_count


def test_a_volume_that_was_unclean_stays_so(mounted: Mounted) -> None:
    again = Mounted.__new__(Mounted)
    mounted.path.write_bytes(mounted.data)  # as after a crash
    again.__init__(mounted.path)  # type: ignore[misc]
    again.writer.close()
    assert not Volume.mount(BufferSource(bytes(again.data))).superblock.s_state & VALID_FS


def test_a_read_only_mount_has_no_writer(mounted: Mounted) -> None:
    volume = Volume.mount(BufferSource(bytes(mounted.data)))
    refused(EROFS, lambda: VolumeWriter(volume))


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 12 * BLOCK + 1, 270 * BLOCK])
def test_what_is_written_is_read_and_what_is_removed_leaves_its_room(mounted: Mounted, size: int) -> None:
    free = mounted.free()
    data = bytes(range(256)) * (size // 256 + 1)
    inode = mounted.file(b"file", data[:size])
    assert content(mounted.source, mounted.volume, inode) == data[:size]
    blocks = -(-size // BLOCK)
    indirect = (blocks > 12) + (2 if blocks > 268 else 0)
    assert inode.blocks_512 == 2 * (blocks + indirect)
    assert mounted.free() == (free[0] - blocks - indirect, free[1] - 1)
    mounted.writer.unlink(mounted.root, b"file")
    assert mounted.free() == free
    mounted.check()


def test_a_file_without_names_lives_until_it_is_released(mounted: Mounted) -> None:
    free = mounted.free()
    inode = mounted.file(b"file", b"still here")
    mounted.writer.hold(inode)
    mounted.writer.hold(inode)
    mounted.writer.unlink(mounted.root, b"file")
    mounted.writer.release(inode)
    assert content(mounted.source, mounted.volume, inode) == b"still here"
    refused(ENOENT, lambda: mounted.writer.link(inode, mounted.root, b"again"))
    mounted.writer.release(inode)
    assert mounted.free() == free
    assert inode.dtime
    mounted.check()


def test_the_end_of_writing_frees_what_is_still_held(mounted: Mounted) -> None:
    free = mounted.free()
    inode = mounted.file(b"file", b"x" * 5000)
    mounted.writer.hold(inode)
    mounted.writer.unlink(mounted.root, b"file")
    mounted.check()
    assert mounted.free() == free


def test_a_full_volume_refuses_and_loses_nothing(mounted: Mounted) -> None:
    kept = mounted.file(b"kept", b"k" * 3000)
    big = mounted.writer.create(mounted.root, b"big")
    written = mounted.writer.files.write(big, 0, bytes(1 << 20))
    assert 0 < written < 1 << 20
    assert big.size_bytes == written
    assert mounted.free()[0] == 0
    free = mounted.free()
    refused(ENOSPC, lambda: mounted.writer.files.write(big, 2 << 20, b"x"))
    refused(ENOSPC, lambda: mounted.writer.mkdir(mounted.root, b"directory"))
    refused(ENOSPC, lambda: mounted.writer.symlink(mounted.root, b"slow", b"t" * 100))
    refused(ENOSPC, lambda: mounted.writer.attributes.set(kept, b"user.x", b"value"))
    assert mounted.volume.lookup(mounted.root, b"directory") is None
    assert mounted.free() == free
    assert content(mounted.source, mounted.volume, kept) == b"k" * 3000
    mounted.check()


def test_reserved_blocks_are_for_root(mounted: Mounted) -> None:
    reserved = mounted.volume.superblock.s_r_blocks_count
    assert reserved
    inode = mounted.writer.create(mounted.root, b"file", caller=USER)
    assert (inode.uid, inode.gid) == (1000, 100)
    with mounted.writer.acting(USER):
        mounted.writer.files.write(inode, 0, bytes(1 << 20))
        assert mounted.free()[0] == reserved
        refused(ENOSPC, lambda: mounted.writer.mkdir(mounted.root, b"directory", caller=USER))
    mounted.writer.mkdir(mounted.root, b"directory")
    mounted.check()


def test_no_inode_is_left(mounted: Mounted) -> None:
    count = mounted.free()[1]
    for number in range(count):
        mounted.writer.create(mounted.root, b"file-%d" % number)
    refused(ENOSPC, lambda: mounted.writer.create(mounted.root, b"one more"))
    mounted.writer.unlink(mounted.root, b"file-3")
    mounted.writer.create(mounted.root, b"one more")
    mounted.check()


def test_an_inode_used_again_shows_nothing_of_the_one_before(mounted: Mounted) -> None:
    first = mounted.file(b"first", b"secret" * 1000)
    mounted.writer.attributes.set(first, b"user.secret", b"secret")
    mounted.writer.unlink(mounted.root, b"first")
    second = mounted.writer.create(mounted.root, b"second")
    assert second.number == first.number
    assert mounted.volume.inode(second.number) is second
    assert mounted.volume.xattrs(second) == {}
    mounted.writer.files.write(second, 5000, b"end")
    assert content(mounted.source, mounted.volume, second) == bytes(5000) + b"end"
    mounted.check()


def test_a_file_that_was_cut_and_grows_shows_zeros(mounted: Mounted) -> None:
    inode = mounted.file(b"file", b"x" * 3000)
    mounted.writer.files.truncate(inode, 100)
    mounted.writer.files.truncate(inode, 2000)
    assert content(mounted.source, mounted.volume, inode) == b"x" * 100 + bytes(1900)
    refused(EFBIG, lambda: mounted.writer.files.truncate(inode, 1 << 45))
    mounted.check()


def test_names_that_are_refused(mounted: Mounted) -> None:
    writer, root = mounted.writer, mounted.root
    file = mounted.file(b"file")
    directory = writer.mkdir(root, b"directory")
    writer.create(directory, b"inside")
    refused(EEXIST, lambda: writer.create(root, b"file"))
    refused(ENAMETOOLONG, lambda: writer.create(root, b"n" * 256))
    refused(ENOTDIR, lambda: writer.create(file, b"name"))
    refused(ENOTEMPTY, lambda: writer.rmdir(root, b"directory"))
    refused(ENOTDIR, lambda: writer.rmdir(root, b"file"))
    refused(ENOENT, lambda: writer.unlink(root, b"nothing"))
    refused(ENOTEMPTY, lambda: writer.rename(writer.mkdir(root, b"other"), b"..", root, b"directory"))
    writer.unlink(directory, b"inside")
    writer.hold(directory)
    writer.rmdir(root, b"directory")
    refused(ENOENT, lambda: writer.create(directory, b"too late"))
    writer.release(directory)
    mounted.check()


def test_links_have_a_limit(mounted: Mounted) -> None:
    file = mounted.file(b"file")
    file.links_count = mounted.root.links_count = LINK_MAX
    refused(EMLINK, lambda: mounted.writer.link(file, mounted.root, b"link"))
    refused(EMLINK, lambda: mounted.writer.mkdir(mounted.root, b"directory"))


def test_a_directory_that_moves_knows_its_new_parent(mounted: Mounted) -> None:
    writer, root = mounted.writer, mounted.root
    first, second = writer.mkdir(root, b"first"), writer.mkdir(root, b"second")
    inner = writer.mkdir(first, b"inner")
    writer.rename(first, b"inner", second, b"moved")
    assert mounted.volume.lookup(inner, b"..") == second.number
    assert (first.links_count, second.links_count) == (2, 3)
    assert mounted.volume.resolve(b"/second/moved/..").number == second.number
    mounted.check()


def test_a_directory_is_filled_and_emptied(mounted: Mounted) -> None:
    inodes = [mounted.file(b"file-%02d" % number) for number in range(4)]
    for number in range(300):
        mounted.writer.link(inodes[number % 4], mounted.root, b"a-name-that-takes-room-%03d" % number)
    size = mounted.root.size_bytes
    for number in range(0, 300, 2):
        mounted.writer.unlink(mounted.root, b"a-name-that-takes-room-%03d" % number)
    for number in range(0, 300, 2):
        mounted.writer.link(inodes[0], mounted.root, b"another-name-in-a-gap-%03d" % number)
    assert mounted.root.size_bytes == size  # each took a gap
    assert mounted.volume.lookup(mounted.root, b"another-name-in-a-gap-298") == inodes[0].number
    mounted.check()


def test_links_and_devices_are_what_debugfs_sees(mounted: Mounted) -> None:
    mounted.writer.symlink(mounted.root, b"fast", b"t" * 59)
    mounted.writer.symlink(mounted.root, b"slow", b"t" * 60)
    mounted.writer.mknod(mounted.root, b"small", S_IFBLK | 0o600, (8, 1))
    mounted.writer.mknod(mounted.root, b"large", S_IFBLK | 0o600, (252, 300))
    mounted.check()
    assert "Fast link dest" in debugfs(mounted.path, "stat fast")
    slow = debugfs(mounted.path, "stat slow")
    assert "Fast link dest" not in slow
    assert "Size: 60" in slow
    assert "number: 08:01 " in debugfs(mounted.path, "stat small")
    assert "number: 252:300 " in debugfs(mounted.path, "stat large")


def test_a_group_is_handed_on_by_its_directory(mounted: Mounted) -> None:
    directory = mounted.writer.mkdir(mounted.root, b"shared", S_ISGID | 0o2775)
    mounted.writer.set_attributes(directory, InodeChange(gid=77))
    inner = mounted.writer.mkdir(directory, b"inner", caller=USER)
    file = mounted.writer.create(inner, b"file", caller=USER)
    assert (inner.gid, inner.mode) == (77, S_IFDIR | S_ISGID | 0o755)
    assert (file.gid, file.mode & S_ISGID) == (77, 0)


def test_equal_attributes_are_one_block_with_a_count(mounted: Mounted) -> None:
    free = mounted.free()[0]
    files = [mounted.file(b"file-%d" % number) for number in range(3)]
    for file in files:
        mounted.writer.attributes.set(file, b"user.same", b"value")
    assert len({file.file_acl for file in files}) == 1
    assert mounted.free()[0] == free - 1
    mounted.writer.attributes.set(files[0], b"user.same", b"other")
    assert mounted.volume.xattrs(files[1]) == {b"user.same": b"value"}
    assert mounted.volume.xattrs(files[0]) == {b"user.same": b"other"}
    assert mounted.free()[0] == free - 2
    mounted.writer.attributes.set(files[0], b"user.same", b"value")
    assert files[0].file_acl == files[1].file_acl
    mounted.writer.unlink(mounted.root, b"file-1")
    for file in (files[0], files[2]):
        mounted.writer.attributes.set(file, b"user.same", None)
    assert mounted.free()[0] == free
    mounted.check()


def test_attributes_that_are_refused(mounted: Mounted) -> None:
    file, attributes = mounted.file(b"file"), mounted.writer.attributes
    attributes.set(file, b"user.there", b"1")
    refused(EEXIST, lambda: attributes.set(file, b"user.there", b"2", XATTR_CREATE))
    refused(ENODATA, lambda: attributes.set(file, b"user.missing", b"2", XATTR_REPLACE))
    refused(ENODATA, lambda: attributes.set(file, b"user.missing", None))
    refused(EOPNOTSUPP, lambda: attributes.set(file, b"nothing.known", b""))
    refused(ENOSPC, lambda: attributes.set(file, b"user.large", bytes(BLOCK)))
    assert mounted.volume.xattrs(file) == {b"user.there": b"1"}
    mounted.check()


def test_a_file_of_two_gigabytes_sets_large_file(tmp_path: Path) -> None:
    options = ("-b", "4096", "-N", "64", "-O", "^resize_inode,^large_file")
    mounted = Mounted(make_image(tmp_path / "image", "2M", *options))
    file = mounted.writer.create(mounted.root, b"file")
    mounted.writer.files.truncate(file, (2 << 30) - 1)
    assert not mounted.volume.superblock.s_feature_ro_compat & RoCompat.LARGE_FILE
    mounted.writer.files.write(file, 2 << 30, b"end")
    assert mounted.volume.superblock.s_feature_ro_compat & RoCompat.LARGE_FILE
    mounted.check()
    assert f"Size: {(2 << 30) + 3}" in debugfs(mounted.path, "stat file")


def test_blocks_of_a_damaged_map_are_not_freed(mounted: Mounted) -> None:
    file = mounted.file(b"file", b"x" * 5000)
    table = mounted.volume.group(0).bg_inode_table
    file.block_pointers = (*file.block_pointers[:2], table, *file.block_pointers[3:])
    with pytest.raises(Ext2FormatError, match="system zones"):
        mounted.writer.files.truncate_blocks(file, 2 * BLOCK)

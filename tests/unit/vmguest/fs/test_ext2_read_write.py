"""ext2 on a segment that can be written: by commands and calls, in place and through the page cache; e2fsck agrees."""

import stat
from collections.abc import Callable, Iterator
from errno import EACCES, EBUSY, EINVAL, ENOENT, ENOTEMPTY, EPERM, EXDEV
from pathlib import Path

import pytest
from cp_support import BlockingCp
from ext2_support import debugfs, e2fs
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.abi.ext2 import ERROR_FS
from dcss.abi.page import PAGE_SIZE
from dcss.errors import HoleError, KernelError
from dcss.ext2.inode import Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from vmguest import hostmem
from vmguest.block.dcssblk import DcssblkDevice
from vmguest.credentials import ROOT, Credentials
from vmguest.fs import attr, namei
from vmguest.fs.ext2_files import WritableXipFile
from vmguest.fs.open import O_APPEND, O_CREAT, O_EXCL, O_RDWR, O_WRONLY, open_file
from vmguest.fs.open_special import O_TMPFILE, open_unnamed
from vmguest.kernel import Kernel
from vmguest.mm_area import PROT_READ, PROT_WRITE, BusError
from vmguest.printk import KernelPanicError

pytestmark = needs("mke2fs", "e2fsck", "debugfs")
SIZE_BYTES = 8 << 20
USER = Credentials(uid=1000, gid=100)


class Disk:
    """A guest with a segment that can be written, mounted at /mnt."""

    def __init__(self, kernel: Kernel, path: Path, options: tuple[str, ...]) -> None:
        self.kernel, self.path, self.vfs = kernel, path, kernel.vfs
        kernel.mount("dcssblk0", "/mnt", options)
        self.vfs.populate()

    @property
    def device(self) -> DcssblkDevice:
        return self.kernel.dcssblk.devices[0]

    def stored(self) -> bytes:
        """What is in the segment."""
        handle = self.device.open()
        try:
            return bytes(self.device.direct_access(handle, 0, self.device.size_bytes).view())
        finally:
            self.device.release(handle)

    def check(self) -> None:
        """Unmount, and have e2fsck look at what is in the segment."""
        self.vfs.umount(b"/mnt")
        self.path.write_bytes(self.stored())
        e2fs("e2fsck", "-fn", self.path)
        assert "Filesystem state:         clean" in e2fs("dumpe2fs", "-h", self.path).decode()

    def content(self, path: bytes) -> bytes:
        return out(self.kernel, [b"cat", path])


@pytest.fixture(params=["rw,xip", "rw"])
def disk(request: pytest.FixtureRequest, control_program: BlockingCp, tmp_path: Path) -> Iterator[Disk]:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("RW", "30000-307FF SW"), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RW")
        yield Disk(kernel, tmp_path / "after", tuple(request.param.split(",")))


def test_a_file_without_a_name_gets_one_or_goes(disk: Disk) -> None:
    flags = O_TMPFILE | O_RDWR
    with open_unnamed(disk.vfs, b"/mnt", flags, mode=0o666) as named, open_unnamed(disk.vfs, b"/mnt", flags) as lost:
        named.write(b"named")
        lost.write(b"x" * 3 * PAGE_SIZE)
        assert (named.dentry.inode.links_count, named.dentry.inode.mode) == (0, stat.S_IFREG | 0o644)
        namei.link(disk.vfs, named.dentry, b"/mnt/name")
    with open_unnamed(disk.vfs, b"/mnt", flags | O_EXCL) as never:
        assert errno_of(lambda: namei.link(disk.vfs, never.dentry, b"/mnt/never")) == ENOENT
    assert disk.content(b"/mnt/name") == b"named"
    assert disk.vfs.resolve(b"/mnt/name").inode.links_count == 1
    disk.check()


def errno_of(call: Callable[[], object]) -> int | None:
    with pytest.raises(KernelError) as caught:
        call()
    return caught.value.errno


def test_an_administrators_work(disk: Disk) -> None:
    for line in (
        "mkdir -p /mnt/opt/app/bin",
        "cp /mnt/usr/lib/libone.so.1 /mnt/opt/app/bin/one",
        "echo first > /mnt/opt/log",
        "echo second >> /mnt/opt/log",
        "ln /mnt/opt/log /mnt/opt/hard",
        "ln -s log /mnt/opt/soft",
        "mv /mnt/opt/app /mnt/opt/moved",
        "chmod 750 /mnt/opt/moved/bin/one",
        "chown 1000:100 /mnt/opt/moved/bin/one",
        "setfattr -n user.origin -v here /mnt/opt/log",
        "truncate -s 100000 /mnt/opt/hard",
        "mknod /mnt/opt/pipe p",
        "cp -a /mnt/opt /mnt/copy",
        "rm -r /mnt/opt",
        "sync",
    ):
        assert sh(disk.kernel, line).err == ""
    assert disk.content(b"/mnt/copy/soft") == b"first\nsecond\n" + bytes(100_000 - 13)
    assert disk.content(b"/mnt/copy/moved/bin/one") == disk.content(b"/mnt/usr/lib/libone.so.1")
    assert out(disk.kernel, "stat -c %a:%u:%g:%h /mnt/copy/moved/bin/one") == b"750:1000:100:1\n"
    disk.check()
    assert "Links: 1" in debugfs(disk.path, "stat /copy/log")
    assert 'Fast link dest: "log"' in debugfs(disk.path, "stat /copy/soft")
    assert debugfs(disk.path, "cat /copy/hard").startswith("first\nsecond\n")
    assert debugfs(disk.path, "stat /opt") == ""


def test_metadata_goes_through_buffers_and_file_data_in_place_does_not(disk: Disk) -> None:
    before = disk.kernel.counters()
    with open_file(disk.vfs, b"/mnt/new", O_RDWR | O_CREAT) as opened:
        opened.write(b"x" * 40 * PAGE_SIZE)
    after = disk.kernel.counters()
    assert after.buffer_bytes > before.buffer_bytes
    in_place = disk.vfs.resolve(b"/mnt").mount.file_system.options[-1] == "xip"
    assert after.page_cache_bytes - before.page_cache_bytes == (0 if in_place else 40 * PAGE_SIZE)
    disk.check()
    assert disk.kernel.counters()[:2] == (PAGE_SIZE, 0)  # rootfs has /etc/hostname


def test_a_hole_that_a_mapping_fills_shows_in_every_mapping(disk: Disk) -> None:
    with open_file(disk.vfs, b"/mnt/sparse", O_RDWR | O_CREAT) as opened:
        opened.truncate(8 * PAGE_SIZE)
        first, second = disk.kernel.new_task().mm, disk.kernel.new_task().mm
        shared = PROT_READ | PROT_WRITE
        one = first.map(opened, 0, 8, shared)
        two = second.map(opened, 2, 4)
        private = second.map(opened, 0, 8, shared, shared=False)
        assert second.read(two, 4) == bytes(4)
        first.write(one + 3 * PAGE_SIZE, b"seen")
        assert second.read(two + PAGE_SIZE, 4) == b"seen"
        assert second.read(private + 3 * PAGE_SIZE, 4) == b"seen"
        second.write(private + 3 * PAGE_SIZE, b"mine")
        opened.seek(5 * PAGE_SIZE)
        opened.write(b"written")
        assert second.read(two + 3 * PAGE_SIZE, 7) == b"written"
        assert first.read(one + 3 * PAGE_SIZE, 4) == b"seen"
        opened.truncate(4 * PAGE_SIZE)
        with pytest.raises(BusError):
            first.read(one + 5 * PAGE_SIZE, 1)
        for task in disk.kernel.tasks[1:]:
            disk.kernel.end_task(task)
    assert disk.content(b"/mnt/sparse") == bytes(3 * PAGE_SIZE) + b"seen" + bytes(PAGE_SIZE - 4)
    disk.check()


@pytest.mark.parametrize("disk", ["rw,xip"], indirect=True)
def test_get_xip_mem_gives_a_hole_a_block_where_it_is_told_to(disk: Disk) -> None:
    with open_file(disk.vfs, b"/mnt/sparse", O_RDWR | O_CREAT) as opened:
        opened.truncate(3 * PAGE_SIZE)
        assert isinstance(opened.file, WritableXipFile)
        with pytest.raises(HoleError):
            opened.file.get_xip_mem(1)
        memory = opened.file.get_xip_mem(1, create=True)
        assert hostmem.view(memory.kernel_address, PAGE_SIZE) == bytes(PAGE_SIZE)
        hostmem.view(memory.kernel_address, 4)[:] = b"here"
        assert opened.file.get_xip_mem(1) == memory
    assert disk.content(b"/mnt/sparse") == bytes(PAGE_SIZE) + b"here" + bytes(2 * PAGE_SIZE - 4)
    disk.check()


def test_several_writers_append(disk: Disk) -> None:
    with (
        open_file(disk.vfs, b"/mnt/log", O_WRONLY | O_CREAT | O_APPEND) as one,
        open_file(disk.vfs, b"/mnt/log", O_WRONLY | O_APPEND) as other,
    ):
        for number in range(300):
            (one if number % 2 else other).write(b"%05d\n" % number)
    assert disk.content(b"/mnt/log").split() == [b"%05d" % number for number in range(300)]
    disk.check()


def test_an_open_file_without_a_name_lives_until_it_is_closed(disk: Disk) -> None:
    free = disk.vfs.resolve(b"/mnt").mount.file_system.statfs().free_blocks
    with open_file(disk.vfs, b"/mnt/gone", O_RDWR | O_CREAT) as opened:
        opened.write(b"g" * 30_000)
        namei.unlink(disk.vfs, b"/mnt/gone")
        buffer = memoryview(bytearray(4))
        opened.seek(29_996)
        assert opened.read(buffer) == 4
        assert bytes(buffer) == b"gggg"
        assert opened.dentry.inode.links_count == 0
    assert disk.vfs.resolve(b"/mnt").mount.file_system.statfs().free_blocks == free
    disk.check()


def test_refused_renames(disk: Disk) -> None:
    out(disk.kernel, "mkdir -p /mnt/a/b /mnt/full/x")
    rename = namei.rename
    assert errno_of(lambda: rename(disk.vfs, b"/mnt/a", b"/mnt/a/b/c")) == EINVAL
    assert errno_of(lambda: rename(disk.vfs, b"/mnt/a/b", b"/mnt/a")) == ENOTEMPTY
    assert errno_of(lambda: rename(disk.vfs, b"/mnt/a", b"/mnt/full")) == ENOTEMPTY
    assert errno_of(lambda: rename(disk.vfs, b"/mnt/a", b"/tmp/a")) == EXDEV
    assert errno_of(lambda: rename(disk.vfs, b"/mnt/a/.", b"/mnt/c")) == EBUSY
    assert errno_of(lambda: rename(disk.vfs, b"/mnt", b"/other")) == EBUSY
    disk.check()


def test_permissions_are_the_users(disk: Disk) -> None:
    vfs = disk.vfs
    out(disk.kernel, "mkdir /mnt/private /mnt/shared")
    out(disk.kernel, "chmod 700 /mnt/private")
    out(disk.kernel, "chmod 1777 /mnt/shared")
    out(disk.kernel, "cp /mnt/usr/lib/libone.so.1 /mnt/shared/roots")
    out(disk.kernel, "chmod 4755 /mnt/shared/roots")
    try:
        vfs.user = USER
        assert errno_of(lambda: vfs.resolve(b"/mnt/private/x")) == EACCES
        assert errno_of(lambda: namei.mkdir(vfs, b"/mnt/mine")) == EACCES
        assert errno_of(lambda: namei.unlink(vfs, b"/mnt/shared/roots")) == EPERM
        assert errno_of(lambda: open_file(vfs, b"/mnt/shared/roots", O_RDWR)) == EACCES
        assert errno_of(lambda: attr.chmod(vfs, vfs.resolve(b"/mnt/shared/roots"), 0o777)) == EPERM
        with open_file(vfs, b"/mnt/shared/mine", O_RDWR | O_CREAT) as opened:
            opened.write(b"mine")
        inode = vfs.resolve(b"/mnt/shared/mine").inode
        assert (inode.uid, inode.gid, inode.mode & 0o7777) == (1000, 100, 0o644)
        assert errno_of(lambda: attr.chown(vfs, vfs.resolve(b"/mnt/shared/mine"), 0, None)) == EPERM
        attr.chmod(vfs, vfs.resolve(b"/mnt/shared/mine"), 0o600)
    finally:
        vfs.user = Credentials()
    assert sh(disk.kernel, "setpriv --reuid=2000 --clear-groups cat /mnt/shared/mine").status == 1
    assert out(disk.kernel, "setpriv --reuid=1000 --clear-groups cat /mnt/shared/mine") == b"mine"
    out(disk.kernel, "chown 1000:100 /mnt/shared/roots")
    assert out(disk.kernel, "stat -c %a /mnt/shared/roots") == b"755\n"  # a new owner gets no set-user-ID
    disk.check()


def test_what_is_written_is_there_after_a_remount_and_in_the_segment(disk: Disk) -> None:
    out(disk.kernel, "echo before > /mnt/file")
    out(disk.kernel, "mount -o remount,ro /mnt")
    assert sh(disk.kernel, "echo no > /mnt/file").err == "sh: /mnt/file: Read-only file system\n"
    out(disk.kernel, "mount -o remount,rw /mnt")
    out(disk.kernel, "echo after >> /mnt/file")
    assert disk.content(b"/mnt/file") == b"before\nafter\n"
    disk.check()
    assert debugfs(disk.path, "cat /file") == "before\nafter\n"
    assert disk.path.stat().st_size == SIZE_BYTES


def test_a_disk_is_formatted_and_filled(disk: Disk) -> None:
    assert "Device or resource busy" in sh(disk.kernel, "mke2fs /dev/dcssblk0").err
    disk.vfs.umount(b"/mnt")
    made = sh(disk.kernel, "mke2fs -b 4096 /dev/dcssblk0").lines[0]
    assert made.startswith("Creating filesystem with 2048 4k blocks")
    out(disk.kernel, "mount /dev/dcssblk0 /mnt")
    out(disk.kernel, "mkdir /mnt/etc")
    out(disk.kernel, "echo new > /mnt/etc/issue")
    assert sorted(sh(disk.kernel, "ls /mnt").lines) == ["etc", "lost+found"]
    disk.check()
    assert debugfs(disk.path, "cat /etc/issue") == "new\n"


def damage(disk: Disk) -> None:
    """Have an inode of the mounted disk name a block that is not there."""
    inode = disk.vfs.resolve(b"/mnt/usr/lib/libone.so.1").inode
    assert isinstance(inode, Inode)
    inode.block_pointers = (1 << 30, *inode.block_pointers[1:])


@pytest.mark.parametrize(
    ("option", "read_only", "lines"),
    [
        ("errors=continue", False, []),
        ("errors=remount-ro", True, ["EXT2-fs (dcssblk0): error: remounting filesystem read-only"]),
    ],
)
def test_damage_is_marked_in_the_superblock_and_met_as_errors_says(
    disk: Disk, option: str, read_only: bool, lines: list[str]
) -> None:
    out(disk.kernel, f"mount -o remount,{option} /mnt")
    damage(disk)
    assert sh(disk.kernel, "cat /mnt/usr/lib/libone.so.1").err.endswith("Structure needs cleaning\n")
    first, *others = disk.kernel.log.messages("crit")
    assert first.startswith("EXT2-fs (dcssblk0): error: inode ")
    assert [line for line in others if "error: inode" not in line] == lines
    assert (sh(disk.kernel, "touch /mnt/new").status == 1) == read_only
    superblock = Volume.mount(BufferSource(disk.stored())).superblock
    assert superblock.s_state & ERROR_FS
    disk.vfs.umount(b"/mnt")
    assert Volume.mount(BufferSource(disk.stored())).superblock.s_state & ERROR_FS


def test_damage_may_be_the_end(disk: Disk) -> None:
    out(disk.kernel, "mount -o remount,errors=panic /mnt")
    damage(disk)
    with pytest.raises(KernelPanicError, match="panic from previous error"):
        sh(disk.kernel, "cat /mnt/usr/lib/libone.so.1")


def test_two_guests_on_one_segment(control_program: BlockingCp, tmp_path: Path) -> None:
    """File data is seen at once, where its block was known; names and sizes after sync and a new mount."""
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("RW", "30000-307FF SW"), fill_with(image))
    with guest_kernel(control_program) as writer, guest_kernel(control_program, "READER", slot=1) as reader:
        for kernel, options in ((writer, ("rw", "xip")), (reader, ("ro", "xip"))):
            kernel.dcssblk.load_module("RW")
            kernel.mount("dcssblk0", "/mnt", options)
        name = b"/mnt/usr/lib/libone.so.1"
        with open_file(writer.vfs, name, O_RDWR) as one, open_file(reader.vfs, name) as other:
            one.pwrite(b"seen at once", 100)
            buffer = memoryview(bytearray(12))
            assert other.pread(buffer, 100) == 12
            assert bytes(buffer) == b"seen at once"
        out(writer, "echo new > /mnt/new")
        assert sh(reader, "cat /mnt/new").status == 1
        out(writer, "sync")
        reader.vfs.umount(b"/mnt")
        reader.mount("dcssblk0", "/mnt", ("ro", "xip"))
        assert out(reader, "cat /mnt/new") == b"new\n"
        for number in range(20):
            out(writer, f"cp /mnt/new /mnt/file-{number}")
            assert sh(reader, "find /mnt").status in {0, 1}  # it finds what it finds, and lives


@pytest.mark.parametrize("cut_bytes", [0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1])
def test_what_was_cut_off_reads_as_zeros_when_the_file_grows_again(disk: Disk, cut_bytes: int) -> None:
    with open_file(disk.vfs, b"/mnt/cut", O_RDWR | O_CREAT) as file:
        file.write(b"x" * (2 * PAGE_SIZE))
        file.truncate(cut_bytes)
        file.truncate(2 * PAGE_SIZE)
        buffer = memoryview(bytearray(2 * PAGE_SIZE))
        file.seek(0)
        assert file.readv([buffer]) == 2 * PAGE_SIZE
    assert bytes(buffer) == (b"x" * cut_bytes).ljust(2 * PAGE_SIZE, b"\0")
    disk.check()


def test_blocks_of_a_removed_directory_are_not_written_over_the_file_that_has_them_next(disk: Disk) -> None:
    for name in (b"/mnt/one", b"/mnt/two", b"/mnt/three"):
        namei.mkdir(disk.vfs, name)
    free = disk.vfs.resolve(b"/mnt").mount.file_system.statfs().free_blocks
    for name in (b"/mnt/one", b"/mnt/two", b"/mnt/three"):
        namei.rmdir(disk.vfs, name)
    with open_file(disk.vfs, b"/mnt/file", O_RDWR | O_CREAT) as opened:
        opened.write(b"f" * PAGE_SIZE * (free + 3 - 200))  # it takes the blocks of all three
    out(disk.kernel, "sync")
    expected = disk.content(b"/mnt/file")
    assert set(expected) == {ord("f")}
    disk.check()
    disk.kernel.mount("dcssblk0", "/mnt", ("ro", "xip"))
    assert disk.content(b"/mnt/file") == expected


@pytest.mark.parametrize(
    ("mode", "left"), [(0o4777, 0o777), (0o2777, 0o777), (0o6777, 0o777), (0o2767, 0o2767), (0o777, 0o777)]
)
def test_who_is_not_root_takes_set_id_bits_from_what_it_writes(disk: Disk, mode: int, left: int) -> None:
    out(disk.kernel, f"echo program > /mnt/program; chmod {mode:o} /mnt/program")

    def mode_after_writing(user: Credentials) -> int:
        disk.vfs.user = user
        try:
            with open_file(disk.vfs, b"/mnt/program", O_WRONLY) as opened:
                opened.write(b"changed")
        finally:
            disk.vfs.user = ROOT
        return disk.vfs.resolve(b"/mnt/program").inode.mode & 0o7777

    assert mode_after_writing(ROOT) == mode
    assert mode_after_writing(USER) == left

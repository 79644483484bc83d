"""tmpfs as it is mounted: its options and limits, and over directories of a segment that cannot be written."""

import stat
from collections.abc import Iterator
from errno import EINVAL, ENOENT, ENOSPC, EROFS
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import STORAGE_BYTES, WRITE, definition, fill_with, guest_kernel
from needs_support import needs
from program_support import errno_of
from shell_support import out, sh
from tree_support import make_tree, mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.namei import Vfs, mkdir
from vmguest.fs.open import FileDescription, open_file
from vmguest.fs.tmpfs_options import TmpfsOptions, parse_tmpfs_options
from vmguest.kernel import Kernel


@pytest.fixture
def kernel(control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    make_tree(tmp_path / "tree")
    control_program.publish(
        definition("RO", "20000-207FF SR"), fill_with(mke2fs(tmp_path / "tree", tmp_path / "image"))
    )
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("RO")
        kernel.mount("dcssblk0", "/", ("ro", "xip"))
        yield kernel


def fill(file: FileDescription) -> int:
    """Write pages until there is no room; return how many had any."""
    pages = 0
    try:
        while True:
            file.write(bytes(PAGE_SIZE))
            pages += 1
    except KernelError as error:
        assert error.errno == ENOSPC
    return pages


def options_of(vfs: Vfs, path: bytes) -> tuple[str, ...]:
    return vfs.resolve(path).mount.options


@needs("mke2fs")
def test_it_covers_a_directory_of_a_segment_and_can_be_covered_itself(kernel: Kernel) -> None:
    vfs = kernel.vfs
    before = {entry.name for entry in vfs.children(vfs.resolve(b"/usr/lib"))}
    assert errno_of(lambda: open_file(vfs, b"/usr/lib/new", WRITE)) == EROFS
    kernel.mount("tmpfs", "/usr/lib", (), "tmpfs")
    with open_file(vfs, b"/usr/lib/new", WRITE) as file:
        file.write(b"x" * 5000)
    assert kernel.counters().page_cache_bytes == 2 * PAGE_SIZE
    mkdir(vfs, b"/usr/lib/below")
    kernel.mount("tmpfs", "/usr/lib/below", ("ro",), "tmpfs")
    assert errno_of(lambda: open_file(vfs, b"/usr/lib/below/new", WRITE)) == EROFS
    kernel.mount("dcssblk0", "/usr/lib", ("ro", "xip"))
    assert b"new" not in {entry.name for entry in vfs.children(vfs.resolve(b"/usr/lib"))}
    vfs.umount(b"/usr/lib")
    assert {entry.name for entry in vfs.children(vfs.resolve(b"/usr/lib"))} == {b"new", b"below"}
    vfs.umount(b"/usr/lib/below")
    vfs.umount(b"/usr/lib")
    assert {entry.name for entry in vfs.children(vfs.resolve(b"/usr/lib"))} == before
    assert kernel.counters().page_cache_bytes == 0


@needs("mke2fs")
def test_its_place_must_be_there(kernel: Kernel) -> None:
    mounts = len(kernel.vfs.mounts)
    assert errno_of(lambda: kernel.mount("tmpfs", "/nosuch", (), "tmpfs")) == ENOENT
    assert errno_of(lambda: kernel.mount("tmpfs", "/usr", ("xip",), "tmpfs")) == EINVAL
    assert len(kernel.vfs.mounts) == mounts


def test_its_place_is_made_where_nothing_else_is_mounted(bare_kernel: Kernel) -> None:
    bare_kernel.mount("tmpfs", "/tmp", ("mode=700", "uid=5", "gid=6", "noexec"), "tmpfs")
    bare_kernel.mount("tmpfs", "/a/b", (), "tmpfs")
    inode = bare_kernel.vfs.resolve(b"/tmp").inode
    assert (stat.S_IMODE(inode.mode), inode.uid, inode.gid) == (0o700, 5, 6)
    assert options_of(bare_kernel.vfs, b"/tmp") == ("rw", "noexec", "mode=700", "uid=5", "gid=6")
    assert stat.S_IMODE(bare_kernel.vfs.resolve(b"/a/b").inode.mode) == 0o1777


def test_it_takes_no_more_than_its_size_says(bare_kernel: Kernel) -> None:
    bare_kernel.mount("tmpfs", "/t", ("size=40k",), "tmpfs")
    with open_file(bare_kernel.vfs, b"/t/a", WRITE) as first, open_file(bare_kernel.vfs, b"/t/b", WRITE) as second:
        first.write(bytes(3 * PAGE_SIZE))
        assert fill(second) == 7
        first.seek(0)
        assert first.write(b"over what is there already") == 26
        first.truncate(PAGE_SIZE)
        assert fill(second) == 2
        status = second.dentry.mount.file_system.statfs()
        assert (status.blocks, status.free_blocks) == (10, 0)
        assert errno_of(lambda: list(first.translate(3, 4, for_write=True))) is None
    assert sh(bare_kernel, "mount -o remount,size=4k /t").err.endswith("Invalid argument\n")
    out(bare_kernel, "mount -o remount,size=44k /t")
    with open_file(bare_kernel.vfs, b"/t/c", WRITE) as third:
        assert fill(third) == 1
    assert options_of(bare_kernel.vfs, b"/t") == ("rw", "size=44k")


def test_it_has_no_more_files_than_its_options_say(bare_kernel: Kernel) -> None:
    bare_kernel.mount("tmpfs", "/t", ("nr_inodes=3",), "tmpfs")
    for name in (b"/t/a", b"/t/b"):
        open_file(bare_kernel.vfs, name, WRITE).close()
    assert errno_of(lambda: open_file(bare_kernel.vfs, b"/t/c", WRITE)) == ENOSPC
    assert errno_of(lambda: mkdir(bare_kernel.vfs, b"/t/d")) == ENOSPC
    assert bare_kernel.vfs.resolve(b"/t").mount.file_system.statfs().free_inodes == 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), TmpfsOptions()),
        (("size=0", "nr_inodes=0"), TmpfsOptions()),
        (("size=5000",), TmpfsOptions(limit_pages=2)),
        (("size=1m", "size=2G"), TmpfsOptions(limit_pages=1 << 19)),
        (("size=25%",), TmpfsOptions(limit_pages=STORAGE_BYTES // 4 // PAGE_SIZE)),
        (("nr_blocks=2k", "nr_inodes=1K"), TmpfsOptions(limit_pages=2048, limit_inodes=1024)),
        (("mode=0755", "uid=1", "gid=2"), TmpfsOptions(0o755, 1, 2)),
    ],
)
def test_options_are_read_as_tmpfs_does(words: tuple[str, ...], wanted: TmpfsOptions) -> None:
    assert parse_tmpfs_options(words, STORAGE_BYTES) == wanted


@pytest.mark.parametrize(
    "word", ["size", "size=", "size=x", "size=1t", "mode=8", "mode=", "uid=a", "nosuch", "nr_inodes=5%"]
)
def test_other_options_are_refused(word: str) -> None:
    assert errno_of(lambda: parse_tmpfs_options((word,), STORAGE_BYTES)) == EINVAL


def test_options_that_are_not_given_stay() -> None:
    before = TmpfsOptions(0o700, 1, 2, 3, 4)
    assert parse_tmpfs_options(("gid=9",), STORAGE_BYTES, before) == TmpfsOptions(0o700, 1, 9, 3, 4)

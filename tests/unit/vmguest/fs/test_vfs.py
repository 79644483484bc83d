"""Paths, links, mounts, patterns."""

from collections.abc import Iterator
from errno import EBUSY, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs
from shell_support import out, small_stack
from tree_support import make_tree, mke2fs

from dcss.errors import KernelError
from vmguest.fs.open import open_file
from vmguest.kernel import Kernel
from vmguest.workload import glob, map_files

pytestmark = needs("mke2fs")


@pytest.fixture
def kernel(control_program: BlockingCp, tmp_path: Path) -> Iterator[Kernel]:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(image))
    control_program.publish(definition("B", "21000-217FF SR"), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A,B")
        kernel.mount("/dev/dcssblk0", "/", ("ro", "xip"))
        yield kernel


def test_paths_with_dots_slashes_and_links(kernel: Kernel) -> None:
    wanted = kernel.vfs.resolve(b"/usr/lib/libone.so.1").inode.number
    for path in (b"//usr/./lib/../lib//libone.so.1", b"/lib/libone.so", b"/../../lib/libone.so.1", b"lib/libone.so"):
        assert kernel.vfs.resolve(path).inode.number == wanted
    assert kernel.vfs.resolve(b"/lib/libone.so", follow=False).inode.is_symlink
    assert kernel.vfs.resolve(b"/").path == b"/"


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (b"/nosuch", ENOENT),
        (b"/usr/nosuch/x", ENOENT),
        (b"/usr/lib/notes.txt/x", ENOTDIR),
        (b"/usr/lib/notes.txt/..", ENOTDIR),
        (b"/usr/lib/loop", ELOOP),
        (b"/" + b"n" * 256, ENAMETOOLONG),
        (b"/" + b"n/" * 2100, ENAMETOOLONG),
    ],
)
def test_paths_that_fail(kernel: Kernel, path: bytes, errno: int) -> None:
    with pytest.raises(KernelError) as caught:
        kernel.vfs.resolve(path)
    assert caught.value.errno == errno


def test_a_directory_opens_and_has_no_bytes(kernel: Kernel) -> None:
    with open_file(kernel.vfs, b"/usr") as opened, pytest.raises(KernelError) as caught:
        opened.read(memoryview(bytearray(8)))
    assert caught.value.errno == EISDIR


def test_mounts_cover_and_keep_what_is_below_busy(kernel: Kernel) -> None:
    with pytest.raises(KernelError) as caught:
        kernel.mount("dcssblk1", "/usr/nosuch", ("ro",))
    assert caught.value.errno == ENOENT
    kernel.mount("dcssblk1", "/usr/lib", ("ro", "xip"))
    assert kernel.vfs.resolve(b"/lib/usr/lib/libone.so.1").mount.at == b"/usr/lib"
    assert kernel.vfs.resolve(b"/usr/lib/..").path == b"/usr"
    with pytest.raises(KernelError) as caught:
        kernel.vfs.umount(b"/")
    assert caught.value.errno == EBUSY
    kernel.vfs.umount(b"/usr/lib")
    assert kernel.vfs.resolve(b"/usr/lib/libone.so.1").mount.at == b"/"
    with pytest.raises(KernelError) as caught:
        kernel.vfs.umount(b"/usr/lib")
    assert caught.value.errno == EINVAL


def test_mount_points_on_rootfs_are_made(control_program: BlockingCp, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(mke2fs(tmp_path / "tree", tmp_path / "image")))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A")
        kernel.mount("dcssblk0", "/opt/shared", ("ro", "xip"))
        assert kernel.vfs.resolve(b"/opt/shared/usr/lib/libone.so").inode.is_regular
        assert [dentry.path for dentry in kernel.vfs.children(kernel.vfs.resolve(b"/"))] == [b"/opt"]


def test_mount_refuses_unknown_options_and_devices(kernel: Kernel) -> None:
    with pytest.raises(KernelError) as caught:
        kernel.mount("dcssblk1", "/usr", ("ro", "fast"))
    assert caught.value.errno == EINVAL
    assert kernel.log.messages("err")[-1] == (
        'EXT2-fs (dcssblk1): error: unrecognized mount option "fast" or missing value'
    )
    with pytest.raises(KernelError) as caught:
        kernel.mount("dcssblk7", "/usr", ("ro",))
    assert caught.value.errno == ENXIO
    kernel.dcssblk.remove("B")  # a refused mount holds nothing


def test_small_blocks_are_refused_with_the_kernels_words(control_program: BlockingCp, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image", block_size_bytes=1024)
    control_program.publish(definition("A", "20000-207FF SR"), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("A")
        for options, words in ((("ro", "xip"), "unsupported blocksize for xip"), (("ro",), "bad blocksize 1024")):
            with pytest.raises(KernelError):
                kernel.mount("dcssblk0", "/", options)
            assert kernel.log.messages("err")[-1] == f"EXT2-fs (dcssblk0): error: {words}"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (b"/usr/lib/*.so.?", {b"/usr/lib/libone.so.1", b"/usr/lib/libtwo.so.2"}),
        (b"/usr/**/*three*", {b"/usr/lib/deep/er/libthree.so"}),
        (b"/**/libtwo.so.2", {b"/usr/lib/libtwo.so.2"}),  # /lib is a link, and links are not followed while walking
        (b"/lib/lib[ot]*.so.*", {b"/usr/lib/libone.so.1", b"/usr/lib/libtwo.so.2"}),  # but a plain name before is
        (b"/usr/lib/libone.so", {b"/usr/lib/libone.so.1"}),
        (b"/nosuch/*", set()),
        (b"/usr/lib/**/er/**/*.so", {b"/usr/lib/deep/er/libthree.so"}),
    ],
)
def test_glob(kernel: Kernel, pattern: bytes, wanted: set[bytes]) -> None:
    found = [dentry.path for dentry in glob(kernel.vfs, pattern) if dentry.inode.is_regular]
    assert set(found) == wanted


def test_map_takes_each_inode_once_and_fails_for_nothing(kernel: Kernel) -> None:
    # libone.so.1, libtwo.so.2 (hard.so is the same inode), libthree.so, empty.so
    assert map_files(kernel.init, "/usr/lib/**/*.so*") == 4
    assert kernel.init.mm.file_pages == 250 + 52 + 1
    with pytest.raises(KernelError, match="matches no regular file") as caught:
        map_files(kernel.init, "/usr/lib/*.dll")
    assert caught.value.errno == ENOENT


def test_glob_goes_to_the_bottom_of_a_tree_that_is_deeper_than_pythons_stack(kernel: Kernel) -> None:
    with small_stack() as levels:
        out(kernel, "cd /tmp" + "; mkdir d; cd d" * levels + "; touch bottom")
        (bottom,) = glob(kernel.vfs, b"/tmp/**/bottom")
    assert bottom.path.count(b"/d") == levels

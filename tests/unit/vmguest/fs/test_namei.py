"""Changes to the tree: what each call does, and the errno where it cannot."""

from collections.abc import Callable, Iterator
from errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EROFS,
)

import pytest
from cp_support import BlockingCp
from guest_support import APPEND, WRITE, guest_kernel

from dcss.errors import KernelError
from vmguest.fs.attr import utimens
from vmguest.fs.namei import Vfs, create, mkdir, rmdir, symlink, unlink
from vmguest.fs.open import open_file


@pytest.fixture
def vfs(control_program: BlockingCp) -> Iterator[Vfs]:
    with guest_kernel(control_program) as kernel:
        vfs = kernel.vfs
        mkdir(vfs, b"/tmp/d")
        with open_file(vfs, b"/tmp/f", WRITE) as file:
            file.write(b"content")
        symlink(vfs, b"f", b"/tmp/to-f")
        symlink(vfs, b"loop", b"/tmp/loop")
        yield vfs


def content(vfs: Vfs, path: bytes) -> bytes:
    with open_file(vfs, path) as opened:
        buffer = memoryview(bytearray(opened.file.size_bytes))
        opened.file.read(0, buffer)
        return bytes(buffer)


def errno_of(call: Callable[[], object]) -> int | None:
    with pytest.raises(KernelError) as caught:
        call()
    return caught.value.errno


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (b"/tmp/d", EISDIR),
        (b"/", EISDIR),
        (b"/tmp/nosuch/f", ENOENT),
        (b"/tmp/f/x", ENOTDIR),
        (b"/tmp/loop", ELOOP),
        (b"/tmp/new/", EISDIR),
        (b"/tmp/f/", EISDIR),
        (b"/tmp/" + b"n" * 256, ENAMETOOLONG),
        (b"/proc/new", EROFS),
        (b"/proc/version", EROFS),
    ],
)
def test_files_that_cannot_be_opened_for_writing(vfs: Vfs, path: bytes, errno: int) -> None:
    assert errno_of(lambda: open_file(vfs, path, WRITE)) == errno
    assert content(vfs, b"/tmp/f") == b"content"


def test_writing_goes_on_where_it_ended(vfs: Vfs) -> None:
    with open_file(vfs, b"/tmp/f", APPEND) as file:
        assert file.write(b" and") == 4
        assert file.write(memoryview(b" more")) == 5
    assert content(vfs, b"/tmp/f") == b"content and more"
    with open_file(vfs, b"/tmp/to-f", WRITE) as file:
        file.write(b"new")
    assert content(vfs, b"/tmp/f") == b"new"
    assert vfs.resolve(b"/tmp/to-f", follow=False).inode.is_symlink


def test_a_link_that_leads_nowhere_is_followed_when_a_file_is_made(vfs: Vfs) -> None:
    symlink(vfs, b"/tmp/d/second", b"/tmp/first")
    symlink(vfs, b"third", b"/tmp/d/second")
    open_file(vfs, b"/tmp/first", WRITE).close()
    assert vfs.resolve(b"/tmp/d/third").inode.is_regular
    assert vfs.resolve(b"/tmp/first", follow=False).inode.is_symlink
    symlink(vfs, b"nosuch/deeper", b"/tmp/bad")
    assert errno_of(lambda: open_file(vfs, b"/tmp/bad", WRITE)) == ENOENT


def test_an_open_file_keeps_its_mount_busy_and_its_data(vfs: Vfs) -> None:
    file = open_file(vfs, b"/tmp/held", WRITE)
    unlink(vfs, b"/tmp/held")
    file.write(b"x" * 5000)
    assert vfs.resolve(b"/tmp").mount.file_system.page_cache_bytes == 3 * 4096  # two of it, one of f
    assert errno_of(lambda: vfs.umount(b"/tmp")) == EBUSY
    file.close()
    file.close()
    assert vfs.resolve(b"/tmp").mount.file_system.page_cache_bytes == 4096
    vfs.umount(b"/tmp")


@pytest.mark.parametrize(
    ("call", "path", "errno"),
    [
        (mkdir, b"/tmp/d", EEXIST),
        (mkdir, b"/tmp/f", EEXIST),
        (mkdir, b"/", EEXIST),
        (mkdir, b"/tmp/nosuch/x", ENOENT),
        (mkdir, b"/tmp/f/x", ENOTDIR),
        (mkdir, b"/proc/x", EROFS),
        (rmdir, b"/tmp/f", ENOTDIR),
        (rmdir, b"/tmp", EBUSY),
        (rmdir, b"/", EBUSY),
        (rmdir, b"/tmp/nosuch", ENOENT),
        (rmdir, b"/tmp/d/.", EINVAL),
        (unlink, b"/tmp/d", EISDIR),
        (unlink, b"/tmp/nosuch", ENOENT),
        (unlink, b"/proc/version", EROFS),
    ],
)
def test_names_that_cannot_be_made_or_removed(
    vfs: Vfs, call: Callable[[Vfs, bytes], object], path: bytes, errno: int
) -> None:
    assert errno_of(lambda: call(vfs, path)) == errno


def test_directories_come_and_go(vfs: Vfs) -> None:
    mkdir(vfs, b"/tmp/d/e/")
    assert errno_of(lambda: rmdir(vfs, b"/tmp/d")) == ENOTEMPTY
    rmdir(vfs, b"/tmp/d/e/")
    rmdir(vfs, b"/tmp/d")
    assert errno_of(lambda: vfs.resolve(b"/tmp/d")) == ENOENT


def test_links(vfs: Vfs) -> None:
    assert errno_of(lambda: symlink(vfs, b"x", b"/tmp/to-f")) == EEXIST
    assert errno_of(lambda: symlink(vfs, b"", b"/tmp/empty")) == ENOENT
    unlink(vfs, b"/tmp/to-f")
    assert content(vfs, b"/tmp/f") == b"content"


def test_files_are_made_and_their_times_set(vfs: Vfs) -> None:
    create(vfs, b"/tmp/new")
    assert vfs.resolve(b"/tmp/new").inode.size_bytes == 0
    utimens(vfs, vfs.resolve(b"/tmp/f"), 77, 1234)
    assert (vfs.resolve(b"/tmp/f").inode.atime, vfs.resolve(b"/tmp/f").inode.mtime) == (77, 1234)
    assert content(vfs, b"/tmp/f") == b"content"
    assert errno_of(lambda: utimens(vfs, vfs.resolve(b"/proc/version"), 0, 0)) == EROFS

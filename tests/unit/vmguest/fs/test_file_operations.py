"""read, readv, sendfile and mmap, in place and through the page cache: the same bytes, at a different cost."""

from collections.abc import Iterator
from errno import EINVAL, ENODATA, ENOMEM
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs_support import needs
from tree_support import HOLE_AT_PAGE, make_tree, mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import HoleError, KernelError, StaleReferenceError
from vmguest import hostmem
from vmguest.fs.file import readv
from vmguest.fs.open import open_file
from vmguest.fs.xip import XipFile
from vmguest.kernel import Kernel
from vmguest.mm_area import BusError, SegmentationFaultError
from vmguest.workload import map_files, read_files

pytestmark = needs("mke2fs")
OPTIONS = {"xip": ("ro", "xip"), "page cache": ("ro",)}


@pytest.fixture(params=OPTIONS)
def mounted(
    request: pytest.FixtureRequest, control_program: BlockingCp, tmp_path: Path
) -> Iterator[tuple[Kernel, dict[bytes, bytes]]]:
    contents = make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("LIB", "20000-207FF SR"), fill_with(image))
    with guest_kernel(control_program) as kernel:
        kernel.dcssblk.load_module("LIB")
        kernel.mount("dcssblk0", "/", OPTIONS[request.param])
        yield kernel, contents


Mounted = tuple[Kernel, dict[bytes, bytes]]


def test_read_gives_every_files_bytes(mounted: Mounted) -> None:
    kernel, contents = mounted
    for path, content in contents.items():
        with open_file(kernel.vfs, b"/" + path) as opened:
            buffer = memoryview(bytearray(len(content) + 100))
            assert opened.file.read(0, buffer) == len(content)
            assert buffer[: len(content)] == content
            assert opened.file.read(len(content), buffer) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_read_and_readv_at_any_position(mounted: Mounted, data: st.DataObject) -> None:
    kernel, contents = mounted
    path = data.draw(st.sampled_from(sorted(contents)))
    position = data.draw(st.integers(0, len(contents[path]) + 10))
    sizes = data.draw(st.lists(st.integers(0, 3 * PAGE_SIZE), min_size=1, max_size=4))
    with open_file(kernel.vfs, b"/" + path) as opened:
        buffers = [memoryview(bytearray(size)) for size in sizes]
        expected = contents[path][position : position + sum(sizes)]
        assert readv(opened.file, position, buffers) == len(expected)
        assert b"".join(buffers)[: len(expected)] == expected


def test_sendfile_hands_over_bytes_and_stops_when_the_actor_does(mounted: Mounted) -> None:
    kernel, contents = mounted
    sent = bytearray()

    def take_all(piece: memoryview) -> int:
        sent.extend(piece)
        return len(piece)

    with open_file(kernel.vfs, b"/etc/sparse") as opened:
        assert opened.file.sendfile(100, 1 << 20, take_all) == len(contents[b"etc/sparse"]) - 100
        assert sent == contents[b"etc/sparse"][100:]
        assert opened.file.sendfile(0, 1 << 20, lambda _piece: 10) == 10


def test_mmap_shows_the_file_and_ends_at_its_end(mounted: Mounted) -> None:
    kernel, contents = mounted
    mm = kernel.init.mm
    for path in (b"usr/lib/libone.so.1", b"etc/sparse"):
        with open_file(kernel.vfs, b"/" + path) as opened:
            pages = hostmem.pages(len(contents[path]))
            address = mm.map(opened, 0, pages + 4)
            whole = contents[path].ljust(pages * PAGE_SIZE, b"\0")
            assert mm.read(address, pages * PAGE_SIZE) == whole
            with pytest.raises(BusError):
                mm.read(address + pages * PAGE_SIZE, 1)
            with pytest.raises(BusError):
                mm.read(address, pages * PAGE_SIZE + 1)
            mm.unmap(address, pages + 4)
            with pytest.raises(SegmentationFaultError):
                mm.read(address, 1)
            part = mm.map(opened, 2, 4)
            assert mm.read(part, 4 * PAGE_SIZE) == contents[path][2 * PAGE_SIZE : 6 * PAGE_SIZE]
    with open_file(kernel.vfs, b"/usr/lib/empty.so") as opened:
        address = mm.map(opened, 0, 1)
        with pytest.raises(BusError):
            mm.read(address, 1)
        with pytest.raises(KernelError) as caught:
            mm.map(opened, 0, 0)
    assert caught.value.errno == EINVAL


def test_only_the_page_cache_copies(mounted: Mounted) -> None:
    kernel, contents = mounted
    xip = "xip" in kernel.vfs.mounts[-1].file_system.options
    assert map_files(kernel.init, "/usr/lib/*.so*") == 3
    assert read_files(kernel.init, "/etc/sparse") == len(contents[b"etc/sparse"])
    books = kernel.counters()
    mapped = [b"usr/lib/libone.so.1", b"usr/lib/libtwo.so.2", b"etc/sparse"]
    copied_pages = 0 if xip else sum(hostmem.pages(len(contents[path])) for path in mapped)
    assert books.page_cache_bytes == copied_pages * PAGE_SIZE
    assert (books.buffer_bytes == 0) == xip
    assert books.anonymous_bytes == 0


def test_get_xip_mem_and_holes(mounted: Mounted) -> None:
    kernel, contents = mounted
    opened = open_file(kernel.vfs, b"/etc/sparse")
    if not isinstance(opened.file, XipFile):
        return  # the page cache has no get_xip_mem: its files are CachedFile, and the tests above cover them
    memory = opened.file.get_xip_mem(0)
    assert memory.page_frame >= 0x20000
    assert bytes(hostmem.view(memory.kernel_address, PAGE_SIZE)) == contents[b"etc/sparse"][:PAGE_SIZE]
    with pytest.raises(HoleError) as caught:
        opened.file.get_xip_mem(HOLE_AT_PAGE)
    assert caught.value.errno == ENODATA


def test_umount_ends_views_and_gives_storage_back(mounted: Mounted) -> None:
    kernel, _ = mounted
    free_bytes = kernel.machine.storage.free_bytes
    file = open_file(kernel.vfs, b"/usr/lib/libone.so.1")
    assert file.file.read(0, memoryview(bytearray(PAGE_SIZE))) == PAGE_SIZE
    with pytest.raises(KernelError, match="in use 1 times"):
        kernel.vfs.umount(b"/")
    file.close()
    kernel.vfs.umount(b"/")
    assert kernel.machine.storage.free_bytes >= free_bytes
    with pytest.raises(StaleReferenceError):
        file.file.read(1 << 19, memoryview(bytearray(PAGE_SIZE)))
    kernel.dcssblk.remove("LIB")


def test_copies_beyond_storage_are_enomem(control_program: BlockingCp, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree")
    image = mke2fs(tmp_path / "tree", tmp_path / "image")
    control_program.publish(definition("LIB", "20000-207FF SR"), fill_with(image))
    with guest_kernel(control_program, storage_bytes=1 << 20) as kernel:
        kernel.dcssblk.load_module("LIB")
        kernel.mount("dcssblk0", "/", ("ro",))
        with pytest.raises(KernelError, match="give the guest more") as caught:
            map_files(kernel.init, "/usr/lib/libone.so.1")
        assert caught.value.errno == ENOMEM

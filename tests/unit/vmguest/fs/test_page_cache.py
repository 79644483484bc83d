"""The page cache under the guest's storage limit: what is evicted and what stays, and how much is read at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EIO, ENOMEM
from functools import cache
from pathlib import Path

import pytest
from cp_support import BlockingCp
from guest_support import definition, fill_with, guest_kernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs_support import needs
from shell_support import out, sh
from tree_support import mke2fs

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.block.file import FileDisk, add_file_disks
from vmguest.fs.file import StoredFile
from vmguest.fs.open import O_RDWR, FileDescription, open_file
from vmguest.fs.readahead import MAX_WINDOW_PAGES, ReadAhead
from vmguest.kernel import Kernel
from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.page_lru import CHUNK_PAGES
from vmguest.workload import map_files, read_files

pytestmark = needs("mke2fs")
MIB = 1 << 20
SIZES = {"a": 3 * MIB, "b": 3 * MIB, "c": 3 * MIB + 5000, "small": 20_000}
STORAGE_BYTES = 4 * MIB


@cache
def content(name: str) -> bytes:
    return b"".join(b"%s%07d" % (name[:1].encode(), number) for number in range(SIZES[name] // 8 + 1))[: SIZES[name]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("page-cache")
    (home / "tree").mkdir()
    for name in SIZES:
        (home / "tree" / name).write_bytes(content(name))
    (home / "image").write_bytes(mke2fs(home / "tree", home / "image", size="16M"))
    return home / "image"


@contextmanager
def guest(
    cp: BlockingCp, image: Path, storage_bytes: int = STORAGE_BYTES, *, writable: bool = False
) -> Iterator[Kernel]:
    descriptor = os.open(image, os.O_RDWR if writable else os.O_RDONLY)
    try:
        with guest_kernel(cp, storage_bytes=storage_bytes) as kernel:
            add_file_disks(kernel.block_devices, [FileDisk("vdb", descriptor, writable)])
            kernel.mount("vdb", "/", ("rw",) if writable else ("ro",))
            yield kernel
    finally:
        os.close(descriptor)


@contextmanager
def no_transfers(kernel: Kernel) -> Iterator[None]:
    """Have every read of the disk fail."""
    device = kernel.block_devices.by_name("vdb")
    assert device is not None

    def fail(*_: object) -> None:
        raise KernelError(EIO, "the test wants no transfer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "read", fail)
        yield


def read(opened: FileDescription, position: int, size_bytes: int) -> bytes:
    buffer = memoryview(bytearray(size_bytes))
    return bytes(buffer[: opened.file.read(position, buffer)])


def cached(kernel: Kernel) -> int:
    return kernel.counters().page_cache_bytes // PAGE_SIZE


def vmstat(kernel: Kernel) -> dict[str, int]:
    lines = out(kernel, "cat /proc/vmstat").decode().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def test_a_tree_larger_than_storage_is_read_whole_and_again(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel:
        for _ in range(2):
            for name in SIZES:
                assert out(kernel, f"cat /{name}") == content(name)
        assert kernel.counters().page_cache_bytes < STORAGE_BYTES
        found = vmstat(kernel)
        assert found["pgsteal_direct"] >= 2 * sum(SIZES.values()) // PAGE_SIZE - STORAGE_BYTES // PAGE_SIZE
        assert found["pgscan_direct"] >= found["pgsteal_direct"]
        assert found["nr_inactive_file"] + found["nr_active_file"] == cached(kernel)


def test_a_step_that_reads_more_than_storage_works(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel:
        assert read_files(kernel.init, "/*") == sum(SIZES.values())


def test_what_is_used_again_and_again_stays_while_much_is_read_once(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel:
        for _ in range(3):
            assert out(kernel, "cat /small") == content("small")
        assert vmstat(kernel)["nr_active_file"] == 5
        for name in "abc":
            out(kernel, f"cat /{name}")
        with no_transfers(kernel):
            assert out(kernel, "cat /small") == content("small")
            assert sh(kernel, "cat /a").status != 0


def test_mapped_pages_stay_and_more_than_storage_cannot_be_mapped(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel:
        assert map_files(kernel.init, "/a") == 1
        out(kernel, "cat /b")
        assert cached(kernel) >= SIZES["a"] // PAGE_SIZE
        (area,) = kernel.init.mm.areas
        with no_transfers(kernel):  # all of it is there
            assert kernel.init.mm.read(area.address, SIZES["a"]) == content("a")
        with pytest.raises(KernelError, match="give the guest more `storage:`") as caught:
            map_files(kernel.init, "/b")
        assert caught.value.errno == ENOMEM
        kernel.init.mm.unmap_all()
        assert map_files(kernel.init, "/b") == 1


def test_anonymous_memory_takes_the_place_of_what_was_read(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel:
        out(kernel, "cat /a")
        pages = 3 * MIB // PAGE_SIZE
        address = kernel.init.mmap(None, 0, pages, PROT_READ | PROT_WRITE, shared=False)
        kernel.init.mm.write(address, b"x" * (pages * PAGE_SIZE))
        assert cached(kernel) < SIZES["a"] // PAGE_SIZE
        assert kernel.init.mm.read(address, pages * PAGE_SIZE) == b"x" * (pages * PAGE_SIZE)


def test_a_file_larger_than_storage_is_written_and_nothing_is_lost(
    control_program: BlockingCp, image: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(image.read_bytes())
    data = b"".join(b"%08d" % number for number in range(5 * MIB // 8))
    with guest(control_program, copy, writable=True) as kernel:
        with open_file(kernel.vfs, b"/a", O_RDWR) as opened:
            assert opened.write(data) == len(data)
        assert out(kernel, "cat /a") == data
        assert out(kernel, "cat /b") == content("b")
        assert sh(kernel, "sync").status == 0
        kernel.power_off()
    with guest(control_program, copy) as kernel:
        assert out(kernel, "cat /a") == data


def test_a_writable_mapping_is_not_written_back_under_its_program(
    control_program: BlockingCp, image: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(image.read_bytes())
    with guest(control_program, copy, writable=True) as kernel:
        with open_file(kernel.vfs, b"/small", O_RDWR) as opened:
            number = kernel.init.files.install(opened.hold())
        address = kernel.init.mmap(number, 0, 5, PROT_READ | PROT_WRITE)
        kernel.init.mm.write(address, b"first")
        for name in "abc":
            out(kernel, f"cat /{name}")
        kernel.init.mm.write(address, b"later")
        kernel.init.exit()
        kernel.power_off()
    with guest(control_program, copy) as kernel:
        assert out(kernel, "cat /small")[:5] == b"later"


def test_reads_in_sequence_double_the_window_and_others_read_what_they_want(
    control_program: BlockingCp, image: Path
) -> None:
    with guest(control_program, image, 64 * MIB) as kernel, open_file(kernel.vfs, b"/a") as opened:
        found: list[int] = []
        for page in range(70):
            read(opened, page * PAGE_SIZE, PAGE_SIZE)
            if not found or cached(kernel) != sum(found):
                found.append(cached(kernel) - sum(found))
        assert found == [4, 8, 16, 32, 32]
        for page in (700, 300, 500):
            read(opened, page * PAGE_SIZE + 5, 10)
            found.append(cached(kernel) - sum(found))
        assert found[5:] == [1, 1, 1]


def test_no_window_reaches_beyond_the_end_of_the_file(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image, 64 * MIB) as kernel, open_file(kernel.vfs, b"/small") as opened:
        read(opened, 0, PAGE_SIZE)
        read(opened, 4 * PAGE_SIZE, 100_000)
        assert cached(kernel) == 5


def test_a_window_that_finds_no_room_leaves_the_read_that_it_was_for(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel:
        free_pages = kernel.machine.storage.free_bytes // PAGE_SIZE - 8
        address = kernel.init.mmap(None, 0, free_pages, PROT_READ | PROT_WRITE, shared=False)
        with open_file(kernel.vfs, b"/a") as opened:
            assert read(opened, 0, 1) == content("a")[:1]
            kernel.init.mm.write(address, b"x" * (free_pages * PAGE_SIZE))
            for page in range(60):
                assert read(opened, page * PAGE_SIZE, 8) == content("a")[page * PAGE_SIZE :][:8]


@pytest.mark.parametrize(("pages", "first"), [(1, 4), (2, 4), (3, 8), (4, 8), (8, 16), (9, 32), (32, 32), (40, 40)])
def test_the_first_window_is_as_the_kernels(pages: int, first: int) -> None:
    assert ReadAhead().window(0, pages) == first


def test_a_window_is_never_longer_than_128_kib() -> None:
    ahead, page, sizes = ReadAhead(), 0, []
    for _ in range(8):
        sizes.append(ahead.window(page, 1))
        ahead.read(page, sizes[-1])
        page += sizes[-1]
    assert sizes == [4, 8, 16, 32, 32, 32, 32, 32]
    assert MAX_WINDOW_PAGES == CHUNK_PAGES == 32


@settings(
    max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    reads=st.lists(
        st.tuples(st.sampled_from(sorted(SIZES)), st.integers(0, 3 * MIB + 6000), st.integers(1, 700_000)), max_size=20
    )
)
def test_reads_in_any_order_find_the_files_bytes(
    control_program: BlockingCp, image: Path, reads: list[tuple[str, int, int]]
) -> None:
    with guest(control_program, image, 2 * MIB) as kernel:
        for name, position, size_bytes in reads:
            with open_file(kernel.vfs, f"/{name}".encode()) as opened:
                assert isinstance(opened.file, StoredFile)
                assert read(opened, position, size_bytes) == content(name)[position : position + size_bytes]


def test_a_segment_without_xip_is_evicted_just_so(control_program: BlockingCp, image: Path) -> None:
    control_program.publish(definition("LIB", "20000-20FFF SR"), fill_with(image.read_bytes()))
    with guest_kernel(control_program, storage_bytes=STORAGE_BYTES) as kernel:
        kernel.dcssblk.load_module("LIB")
        kernel.mount("dcssblk0", "/", ("ro",))
        for name in SIZES:
            assert out(kernel, f"cat /{name}") == content(name)
        assert kernel.counters().page_cache_bytes < STORAGE_BYTES


def test_reading_on_is_one_use_and_reading_again_another(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image, 64 * MIB) as kernel:
        for active_pages in (0, SIZES["a"] // PAGE_SIZE):
            with open_file(kernel.vfs, b"/a") as opened:
                for position in range(0, SIZES["a"], 5000):
                    read(opened, position, 5000)
            assert kernel.machine.page_lru.active_pages == active_pages


def test_pages_that_a_read_hands_on_stay_while_they_are_taken(control_program: BlockingCp, image: Path) -> None:
    with guest(control_program, image) as kernel, open_file(kernel.vfs, b"/a") as opened:
        taken = bytearray()

        def actor(piece: memoryview) -> int:
            kernel.machine.page_lru.reclaim(STORAGE_BYTES // PAGE_SIZE)
            taken.extend(piece)
            return len(piece)

        assert opened.file.sendfile(0, SIZES["a"], actor) == SIZES["a"]
        assert taken == content("a")
        assert kernel.machine.page_lru.reclaim(STORAGE_BYTES // PAGE_SIZE) > 0
        assert cached(kernel) == 0


def test_a_program_that_holds_a_mapped_page_writes_to_the_file_after_storage_ran_short(
    control_program: BlockingCp, image: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(image.read_bytes())
    with guest(control_program, copy, writable=True) as kernel:
        with open_file(kernel.vfs, b"/small", O_RDWR) as opened:
            number = kernel.init.files.install(opened.hold())
        address = kernel.init.mmap(number, 0, 5, PROT_READ | PROT_WRITE)
        (view, *_) = list(kernel.init.mm.views(address, 5 * PAGE_SIZE, for_write=True))
        kernel.machine.page_lru.reclaim(STORAGE_BYTES // PAGE_SIZE)
        view[:5] = b"later"
        kernel.init.exit()
        kernel.power_off()
    with guest(control_program, copy) as kernel:
        assert out(kernel, "cat /small")[:5] == b"later"

"""Files in real storage against a model, and what they take and give back."""

import stat
from collections.abc import Callable, Iterator
from errno import EEXIST, EINVAL, EISDIR, ENODATA, ENOSPC, ENOTDIR, ENOTEMPTY, EOPNOTSUPP
from typing import Any

import pytest
from guest_support import reservation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.credentials import ROOT
from vmguest.frames import FrameMap
from vmguest.fs.filesystem import XATTR_CREATE, XATTR_REPLACE
from vmguest.fs.tmpfs import TmpfsFileSystem
from vmguest.fs.tmpfs_file import TmpfsFile
from vmguest.storage import RealStorage, StorageKind

STORAGE_PAGES = 64


@pytest.fixture
def storage() -> Iterator[RealStorage]:
    yield RealStorage(reservation().window, STORAGE_PAGES * PAGE_SIZE)
    hostmem.unmap(reservation().window, reservation().window_bytes)


@pytest.fixture
def system(storage: RealStorage) -> TmpfsFileSystem:
    return TmpfsFileSystem(storage, "tmpfs")


def new_file(system: TmpfsFileSystem, name: bytes = b"f") -> TmpfsFile:
    return system.open(system.create(system.inode(system.root), name, 0o644, ROOT))


def content(file: TmpfsFile) -> bytes:
    buffer = memoryview(bytearray(file.size_bytes + 10))
    return bytes(buffer[: file.read(0, buffer)])


POSITIONS = st.integers(0, 24 * PAGE_SIZE)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), POSITIONS, st.integers(1, 5 * PAGE_SIZE)),
        st.tuples(st.just("truncate"), POSITIONS, st.just(0)),
        st.tuples(st.just("map"), st.integers(0, 24), st.integers(1, 24)),
        st.tuples(st.just("take"), st.integers(1, 8), st.just(0)),  # somebody else's frames: runs get shorter
        st.tuples(st.just("give"), st.just(0), st.just(0)),
    ),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=OPERATIONS, seed=st.integers(1, 255))
def test_random_writes_and_truncates_against_a_bytearray(
    storage: RealStorage, operations: list[tuple[str, int, int]], seed: int
) -> None:
    system = TmpfsFileSystem(storage, "tmpfs")
    free_bytes = storage.free_bytes
    file, model = new_file(system), bytearray()
    taken: list[tuple[int, int]] = []
    for number, (kind, first, second) in enumerate(operations):
        if kind == "write":
            data = bytes((seed + number + i // 7) % 256 for i in range(second))
            model.extend(bytes(max(0, first + second - len(model))))
            model[first : first + second] = data
            done = 0
            while done < second:
                done += file.write(first + done, memoryview(data)[done:])
        elif kind == "truncate":
            file.truncate(first)
            del model[first:]
            model.extend(bytes(first - len(model)))
        elif kind == "map":
            if first < hostmem.pages(len(model)):
                runs = list(file.translate(first, second, for_write=True))
                assert all(run.kind is StorageKind.REAL for run in runs)
                low, high = first * PAGE_SIZE, min(first + second, hostmem.pages(len(model))) * PAGE_SIZE
                shown = b"".join(hostmem.view(storage.address(r.page_frame), r.pages * PAGE_SIZE) for r in runs)
                assert shown == bytes(model[low:high]).ljust(high - low, b"\0")
        elif kind == "take":
            taken.append((storage.allocate(first), first))
        elif taken:
            storage.release(*taken.pop())
        assert file.size_bytes == len(model)
        if sum(pages for _, pages in taken) > STORAGE_PAGES // 4:
            storage.release(*taken.pop(0))
    assert content(file) == bytes(model)
    sent = bytearray()

    def take(piece: memoryview) -> int:
        sent.extend(piece)
        return len(piece)

    file.sendfile(100, 1 << 30, take)
    assert sent == model[100:]
    others_bytes = sum(pages for _, pages in taken) * PAGE_SIZE
    assert system.page_cache_bytes == free_bytes - others_bytes - storage.free_bytes
    for run in taken:
        storage.release(*run)
    system.unmount()
    assert storage.free_bytes == free_bytes


def test_pages_come_in_runs_and_holes_take_none(storage: RealStorage, system: TmpfsFileSystem) -> None:
    file = new_file(system)
    assert file.write(0, bytes(10 * PAGE_SIZE)) == 10 * PAGE_SIZE
    assert file.write(10 * PAGE_SIZE, b"x") == 1
    data = FrameMap(storage)
    data.fill(0, 3)
    data.fill(5, 2)
    data.fill(0, 8)
    assert [(run.file_page, run.pages) for run in data.runs(0, 100)] == [(0, 3), (3, 2), (5, 2), (7, 1)]
    data.truncate(0)
    file.truncate(0)
    file.write(20 * PAGE_SIZE, b"end")
    assert system.page_cache_bytes == PAGE_SIZE
    assert content(file) == bytes(20 * PAGE_SIZE) + b"end"


def test_an_append_joins_the_run_before_it(system: TmpfsFileSystem) -> None:
    file = new_file(system)
    for number in range(20):
        file.write(number * PAGE_SIZE, bytes([number]) * PAGE_SIZE)
    assert len(list(file.translate(0, 20))) == 1


def test_storage_that_is_full_writes_in_part_and_then_refuses(storage: RealStorage, system: TmpfsFileSystem) -> None:
    file = new_file(system)
    free_bytes = storage.free_bytes
    assert file.write(100, bytes(STORAGE_PAGES * PAGE_SIZE)) == free_bytes - 100
    assert (file.size_bytes, storage.free_bytes) == (free_bytes, 0)
    with pytest.raises(KernelError, match="give the guest more") as caught:
        file.write(free_bytes, b"x")
    assert caught.value.errno == ENOSPC
    file.write(0, b"in place")
    file.truncate(PAGE_SIZE + 1)
    assert storage.free_bytes == free_bytes - 2 * PAGE_SIZE


def test_pieces_of_storage_are_used_up_to_the_last(storage: RealStorage, system: TmpfsFileSystem) -> None:
    frames = [storage.allocate(1) for _ in range(storage.free_bytes // PAGE_SIZE)]
    for frame in frames[::2]:
        storage.release(frame, 1)
    file = new_file(system)
    pages = len(frames[::2])
    assert file.write(0, b"y" * (pages + 1) * PAGE_SIZE) == pages * PAGE_SIZE
    assert content(file) == b"y" * pages * PAGE_SIZE


def test_what_is_cut_off_reads_as_zeros_when_the_file_grows_again(system: TmpfsFileSystem) -> None:
    file = new_file(system)
    file.write(0, b"s" * 2 * PAGE_SIZE)
    file.truncate(10)
    file.truncate(2 * PAGE_SIZE)
    assert content(file) == b"s" * 10 + bytes(2 * PAGE_SIZE - 10)


def test_a_file_without_a_name_lives_until_its_last_close(storage: RealStorage, system: TmpfsFileSystem) -> None:
    root = system.inode(system.root)
    free_bytes = storage.free_bytes
    file = new_file(system, b"gone")
    number = system.lookup(root, b"gone")
    assert number is not None
    inode = system.inode(number)
    file.write(0, b"still here")
    system.unlink(root, b"gone")
    assert system.lookup(root, b"gone") is None
    assert content(file) == b"still here"
    assert system.page_cache_bytes == PAGE_SIZE
    system.release(inode)
    assert (system.page_cache_bytes, storage.free_bytes) == (0, free_bytes)


def test_directories_count_their_links_and_go_when_empty(system: TmpfsFileSystem) -> None:
    root = system.inode(system.root)
    directory = system.mkdir(root, b"d", 0o755, ROOT)
    system.create(directory, b"f", 0o644, ROOT)
    assert (root.links_count, directory.links_count) == (3, 2)
    for call, errno in (
        (lambda: system.rmdir(root, b"d"), ENOTEMPTY),
        (lambda: system.unlink(root, b"d"), EISDIR),
        (lambda: system.rmdir(directory, b"f"), ENOTDIR),
        (lambda: system.open(directory), EISDIR),
        (lambda: system.readlink(directory), EINVAL),
        (lambda: system.open(system.symlink(root, b"l", b"t", ROOT)), EINVAL),
    ):
        with pytest.raises(KernelError) as caught:
            call()
        assert caught.value.errno == errno
    system.unlink(directory, b"f")
    system.rmdir(root, b"d")
    assert root.links_count == 2
    assert [name for name, _ in system.names(root)] == [b"l"]


@pytest.mark.parametrize(
    "call", [lambda f: f.write(-1, b"x"), lambda f: f.truncate(-1), lambda f: f.read(-1, memoryview(b""))]
)
def test_numbers_that_make_no_sense(system: TmpfsFileSystem, call: Callable[[Any], object]) -> None:
    with pytest.raises(KernelError) as caught:
        call(new_file(system))
    assert caught.value.errno == EINVAL


def test_how_full_it_is(storage: RealStorage, system: TmpfsFileSystem) -> None:
    new_file(system).write(0, bytes(3 * PAGE_SIZE))
    full = system.statfs()
    assert full.blocks - full.free_blocks == 3
    assert full.free_blocks * PAGE_SIZE == storage.free_bytes


def made(system: TmpfsFileSystem, *directories: bytes) -> list[Any]:
    return [system.mkdir(system.inode(system.root), name, 0o755, ROOT) for name in directories]


def names(system: TmpfsFileSystem, directory: Any) -> set[bytes]:
    return {name for name, _ in system.names(directory)}


def test_a_name_is_moved_over_what_may_be_replaced(system: TmpfsFileSystem) -> None:
    root = system.inode(system.root)
    one, two, sub = made(system, b"one", b"two", b"sub")
    file, other = (system.create(one, name, 0o644, ROOT) for name in (b"file", b"other"))
    assert root.links_count == 5
    system.rename(one, b"file", two, b"moved")
    assert (names(system, one), names(system, two)) == ({b"other"}, {b"moved"})
    system.rename(two, b"moved", one, b"other")
    assert system.lookup(one, b"other") == file.number
    assert (other.links_count, file.links_count) == (0, 1)
    system.link(file, one, b"again")
    system.rename(one, b"again", one, b"other")  # two names of one file: nothing happens
    assert names(system, one) == {b"again", b"other"}
    system.rename(root, b"sub", two, b"sub")
    assert (root.links_count, two.links_count, sub.links_count) == (4, 3, 2)
    (empty,) = made(system, b"empty")
    system.rename(two, b"sub", root, b"empty")
    assert (system.lookup(root, b"empty"), empty.links_count) == (sub.number, 0)
    assert (root.links_count, two.links_count) == (5, 2)


def test_a_name_is_not_moved_over_what_is_of_another_kind_or_full(system: TmpfsFileSystem) -> None:
    root = system.inode(system.root)
    one, two = made(system, b"one", b"two")
    system.create(root, b"file", 0o644, ROOT)
    system.create(two, b"full", 0o644, ROOT)
    for old, new, errno in ((b"one", b"file", ENOTDIR), (b"file", b"one", EISDIR), (b"one", b"two", ENOTEMPTY)):
        with pytest.raises(KernelError) as caught:
            system.rename(root, old, root, new)
        assert caught.value.errno == errno
    assert names(system, root) == {b"one", b"two", b"file"}
    assert (root.links_count, one.links_count, two.links_count) == (4, 2, 2)


def test_attributes_are_set_made_replaced_and_removed(system: TmpfsFileSystem) -> None:
    inode = system.create(system.inode(system.root), b"f", 0o644, ROOT)
    name = b"trusted.x"

    def refused(errno: int, *arguments: Any) -> None:
        with pytest.raises(KernelError) as caught:
            system.set_xattr(inode, *arguments)
        assert caught.value.errno == errno

    refused(EOPNOTSUPP, b"user.x", b"1")
    for value, flags in ((None, 0), (b"1", XATTR_REPLACE)):
        refused(ENODATA, name, value, flags)
    system.set_xattr(inode, name, b"1", XATTR_CREATE)
    refused(EEXIST, name, b"2", XATTR_CREATE)
    assert system.xattrs(inode) == {name: b"1"}
    system.set_xattr(inode, name, b"2", XATTR_REPLACE)
    system.set_xattr(inode, b"security.y", b"3")
    assert system.xattrs(inode) == {name: b"2", b"security.y": b"3"}
    system.set_xattr(inode, name, None)
    assert system.xattrs(inode) == {b"security.y": b"3"}


def test_a_node_of_a_device_has_its_numbers(system: TmpfsFileSystem) -> None:
    root = system.inode(system.root)
    made = system.mknod(root, b"disk", stat.S_IFBLK | 0o644, (252, 7), ROOT)
    assert (made.mode, made.rdev, made.number) == (stat.S_IFBLK | 0o644, (252, 7), system.lookup(root, b"disk"))

"""`dcss inspect` of all that processes share: named or not, deleted, in huge pages, in thousands of mappings."""

import ctypes
import mmap
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from claim_support import NO_COPIES, ONE_FRAME, detail
from needs_support import needs
from peers_support import Peer, forking_peer, peers

from dcss.errors import ConfigError
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import InspectResult

PAGES = 16
CONTENT = random.Random(16).randbytes(PAGES * mmap.PAGESIZE)
_IPC_CREAT, _IPC_RMID = 0o1000, 0


def inspected(found: Sequence[Peer], *objects: str, files: Sequence[Path] = ()) -> InspectResult:
    return inspect([peer.pid for peer in found], Wanted(tuple(map(str, files)), objects))


def assert_whole(result: InspectResult, pages: int = PAGES) -> None:
    assert result.verify.verdict == "verified", result.verify.claims
    (proof,) = result.verify.files
    assert (proof.pages, proof.checked_pages, proof.shared) == (pages, pages, True)


@contextmanager
def memory_file(name: str) -> Iterator[int]:
    descriptor = os.memfd_create(name, 0)
    try:
        os.write(descriptor, CONTENT)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def system_v_segment() -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    libc.shmdt.argtypes = (ctypes.c_void_p,)
    number = libc.shmget(0, len(CONTENT), _IPC_CREAT | 0o600)
    try:
        address = libc.shmat(number, None, 0)
        ctypes.memmove(address, CONTENT, len(CONTENT))
        libc.shmdt(address)
        yield number
    finally:
        libc.shmctl(number, _IPC_RMID, None)


def test_posix_shared_memory_by_its_name() -> None:
    path = Path(f"/dev/shm/inspect-{os.getpid()}")
    path.write_bytes(CONTENT)
    try:
        with peers(f"map={path}", f"map={path}") as found:
            for name in (path.name, f"/{path.name}", str(path)):
                assert_whole(inspected(found, name))
    finally:
        path.unlink()


@needs("root")
@pytest.mark.parametrize("name", ["inspected", "memfd:inspected", "/memfd:inspected (deleted)"])
def test_a_memfd_that_nobody_keeps_open(name: str) -> None:
    with memory_file("inspected") as descriptor:
        words = f"descriptor={descriptor}"
        with peers(words, words, pass_fds=[descriptor]) as found:
            assert_whole(inspected(found, name))


@needs("root")
def test_a_copy_in_shared_memory_that_a_process_reaches_refutes(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    path.write_bytes(CONTENT)
    with memory_file("guest-memory") as descriptor:
        words = [f"map={path}", f"descriptor={descriptor}"]
        with peers(f"map={path}") as plain, peers(words, pass_fds=[descriptor]) as machine:
            result = inspected([*plain, *machine], files=[path])
    assert [claim.claim for claim in result.verify.claims if claim.holds is False] == [NO_COPIES]
    assert f"{PAGES} pages of {path} in shared memory /memfd:guest-memory" in detail(result.verify, NO_COPIES)
    assert [row.copied_bytes for row in result.processes] == [0, len(CONTENT)]


@needs("root")
def test_a_system_v_segment() -> None:
    with system_v_segment() as number:
        words = f"system_v={number}:{len(CONTENT)}"
        with peers(words, words) as found:
            result = inspected(found)
    rows = [row for row in result.objects if row.path.startswith("/SYSV")]
    assert [(row.inode, row.bytes, len(row.pids)) for row in rows] == [(number, len(CONTENT), 2)]
    assert next(proof for proof in result.verify.files if proof.path == rows[0].path).checked_pages == PAGES


@needs("root")
def test_a_file_that_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    path.write_bytes(CONTENT)
    with peers(f"map={path}", f"map={path}") as found:
        path.unlink()
        path.write_bytes(CONTENT[::-1])  # another file of that name
        assert_whole(inspected(found, str(path)))


@needs("root")
def test_memory_that_a_server_shares_with_what_it_forked() -> None:
    with forking_peer(3) as (server, children):
        result = inspect([server.pid, *children])
    shared = [row for row in result.objects if row.path.startswith("/dev/zero")]
    assert [(row.pids, row.bytes) for row in shared] == [((server.pid, *children), 64 * mmap.PAGESIZE)]
    proof = next(proof for proof in result.verify.files if proof.path == shared[0].path)
    assert (proof.checked_pages, proof.shared) == (64, True)


def test_children_are_not_looked_at_unless_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "shared"
    path.write_bytes(CONTENT)
    with forking_peer(1) as (server, children), peers(f"map={path}") as (other,):
        result = inspect([server.pid, other.pid], Wanted((str(path),)))
    assert [guest.pids for guest in result.measure.guests] == [(server.pid,), (other.pid,)]
    assert children[0] not in {pid for guest in result.measure.guests for pid in guest.pids}


def test_thousands_of_mappings(tmp_path: Path) -> None:
    path = tmp_path / "many"
    pages = 6000
    path.write_bytes(random.Random(17).randbytes(pages * mmap.PAGESIZE))
    with peers(f"many={path}", f"map={path}") as found:
        result = inspected(found, files=[path])
    assert result.verify.verdict == "verified", result.verify.claims
    assert result.verify.files[0].checked_pages == pages // 2
    assert result.objects[0].one_frame_pages in (pages // 2, None)


def test_a_large_hole_is_not_filled(tmp_path: Path) -> None:
    with memory_file("sparse") as descriptor:
        os.ftruncate(descriptor, 1 << 30)
        resident = os.fstat(descriptor).st_blocks
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        with peers(f"untouched={path}", f"untouched={path}") as found:
            inspected(found, files=[Path(path)])
        assert os.fstat(descriptor).st_blocks == resident


def test_a_file_that_is_not_there_is_a_wrong_command_line(tmp_path: Path) -> None:
    with peers(f"untouched={__file__}") as found:
        with pytest.raises(ConfigError, match="--file: found nothing at"):
            inspected(found, files=[tmp_path / "none"])
        with pytest.raises(ConfigError, match=r"--file .*: it is no regular file"):
            inspected(found, files=[tmp_path])
        with pytest.raises(ConfigError, match="--object: found no object /none"):
            inspected(found, "/none")
        empty = tmp_path / "empty"
        empty.touch()
        with pytest.raises(ConfigError, match="it is empty"):
            inspected(found, files=[empty])


def test_devices_and_files_of_the_kernel_are_no_objects() -> None:
    with peers("untouched=/proc/self/exe", "untouched=/proc/self/exe") as found:
        result = inspected(found)
    assert all(row.unread is None for row in result.objects), result.objects
    assert not [claim.detail for claim in result.verify.claims if claim.claim == ONE_FRAME and claim.holds is False]


@needs("huge_pages", "frames")
def test_huge_pages(tmp_path: Path) -> None:
    from dcss.host.mapping import HUGE_PAGE_BYTES, FileMapping, reserve_pages

    with memory_file("huge") as descriptor:
        os.ftruncate(descriptor, HUGE_PAGE_BYTES)
        mapping = FileMapping(descriptor, HUGE_PAGE_BYTES)
        os.ftruncate(descriptor, 0)
        os.ftruncate(descriptor, HUGE_PAGE_BYTES)
        reserve_pages(descriptor, mapping, huge=True)
        content = random.Random(18)
        os.pwrite(descriptor, content.randbytes(HUGE_PAGE_BYTES), 0)
        mapping.close()
        words = f"descriptor={descriptor}"
        with peers(words, words, pass_fds=[descriptor]) as found:
            result = inspected(found, "huge")
    assert_whole(result, HUGE_PAGE_BYTES // mmap.PAGESIZE)

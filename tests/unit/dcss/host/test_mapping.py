"""A file's bytes in memory: where they lie, until when, and in what pages."""

import ctypes
import gc
import os
from collections.abc import Iterator
from errno import EAGAIN, EINVAL, ENOMEM
from pathlib import Path

import numpy as np
import pytest
from needs_support import needs

from dcss.account import frames as frames_module
from dcss.account import huge
from dcss.account.frames import map_counts
from dcss.account.huge import huge_bytes, no_huge_pages_because
from dcss.account.maps import parse_maps
from dcss.account.pagemap import Entries
from dcss.host import mapping as mapping_module
from dcss.host.mapping import HUGE_PAGE_BYTES, FileMapping, collapse, reserve_pages

SIZE_BYTES = 3 * HUGE_PAGE_BYTES + 8192


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
    os.ftruncate(made, SIZE_BYTES)
    yield made
    os.close(made)


def mapped_bytes(descriptor: int) -> int:
    inode = os.fstat(descriptor).st_ino
    return sum(vma.end - vma.start for vma in parse_maps(Path("/proc/self/maps").read_bytes()) if vma.inode == inode)


def test_it_begins_where_huge_pages_do_and_shows_the_file(descriptor: int) -> None:
    mapping = FileMapping(descriptor, SIZE_BYTES)
    assert mapping.address % HUGE_PAGE_BYTES == 0
    os.pwrite(descriptor, b"written", SIZE_BYTES - 7)
    assert bytes(mapping.view[-8:]) == b"\0written"
    assert (mapping.view.readonly, mapping.view.nbytes, mapping.view.format) == (True, SIZE_BYTES, "B")
    assert mapped_bytes(descriptor) == SIZE_BYTES
    mapping.close()


def test_it_is_unmapped_with_its_last_view(descriptor: int) -> None:
    mapping = FileMapping(descriptor, SIZE_BYTES)
    part = mapping.view[:4096]
    mapping.close()
    del mapping
    gc.collect()
    assert bytes(part) == bytes(4096)
    assert mapped_bytes(descriptor) == SIZE_BYTES
    part.release()
    assert mapped_bytes(descriptor) == 0


@pytest.mark.parametrize(
    ("answers", "errno"), [([ENOMEM, EAGAIN, 0], 0), ([EINVAL, 0], EINVAL), ([ENOMEM] * 4, ENOMEM)]
)
def test_huge_pages_are_tried_again_where_memory_was_in_pieces(
    descriptor: int, answers: list[int], errno: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advise(*_: int) -> int:
        ctypes.set_errno(answers.pop(0))
        return -1 if ctypes.get_errno() else 0

    mapping = FileMapping(descriptor, SIZE_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr(mapping_module, "_madvise", advise)
        assert collapse(mapping) == errno
    mapping.close()


def test_what_cannot_be_mapped_leaves_nothing(descriptor: int) -> None:
    before = Path("/proc/self/maps").read_bytes().count(b"---p")
    with pytest.raises(OSError, match=f"mmap of {1 << 50} bytes") as caught:
        FileMapping(descriptor, 1 << 50)
    assert caught.value.errno == ENOMEM
    with pytest.raises(OSError, match="mmap of 4096 bytes: Bad file descriptor"):
        FileMapping(-1, 4096)
    assert Path("/proc/self/maps").read_bytes().count(b"---p") == before


@needs("huge_pages")
def test_pages_are_reserved_as_huge_ones(descriptor: int) -> None:
    mapping = FileMapping(descriptor, SIZE_BYTES)
    reserve_pages(descriptor, mapping, huge=True)
    assert os.fstat(descriptor).st_blocks * 512 >= SIZE_BYTES
    assert collapse(mapping) == 0
    mapping.populate()
    assert huge_bytes(os.getpid(), {mapping.address, 4096}) == {mapping.address: 3 * HUGE_PAGE_BYTES, 4096: None}
    assert not any(mapping.view)
    mapping.close()


def test_pages_are_reserved_as_small_ones(descriptor: int) -> None:
    mapping = FileMapping(descriptor, SIZE_BYTES)
    reserve_pages(descriptor, mapping, huge=False)
    mapping.populate()
    assert os.fstat(descriptor).st_blocks * 512 >= SIZE_BYTES
    assert huge_bytes(os.getpid(), {mapping.address}) == {mapping.address: 0}
    mapping.close()


@needs("huge_pages", "frames")
@pytest.mark.parametrize("averages", [False, True])
def test_whether_the_kernel_counts_each_page_is_tried(monkeypatch: pytest.MonkeyPatch, averages: bool) -> None:
    counted: list[int] = []

    def counts(frames: Entries) -> Entries:
        counted.extend(map_counts(frames).tolist())
        return np.ones(len(frames), np.uint64) if averages else map_counts(frames)

    monkeypatch.setattr(frames_module, "map_counts", counts)
    assert huge.counts_are_averages.__wrapped__() is averages
    assert counted in ([2, 1], [1, 1])  # the second, where the kernel counts so


def test_why_there_are_none_is_said(tmp_path: Path) -> None:
    assert no_huge_pages_because(tmp_path / "nothing") == f"{tmp_path / 'nothing'}: No such file or directory"

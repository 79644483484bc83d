"""Real storage, runs of pages, and the port's checks."""

import copy
import pickle
from collections.abc import Callable
from errno import EINVAL, ENOMEM

import pytest
from cp_support import BlockingCp
from guest_support import guest_kernel, reservation
from hypothesis import given
from hypothesis import strategies as st

from dcss.abi.diag64 import Diag64
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.storage import PageRuns, ProgramCheckError, RealStorage

MIB = 1 << 20


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=60))
def test_page_runs_never_hand_out_a_page_twice_and_lose_none(steps: list[tuple[bool, int]]) -> None:
    runs = PageRuns(5, 100)
    held: list[tuple[int, int]] = []
    for allocate, pages in steps:
        if allocate:
            first = runs.allocate(pages)
            if first is not None:
                assert first >= 5
                assert first + pages <= 105
                assert all(first + pages <= other or other + length <= first for other, length in held)
                held.append((first, pages))
        elif held:
            runs.release(*held.pop(pages % len(held)))
        assert runs.free_pages + sum(length for _, length in held) == 100
    for run in held:
        runs.release(*run)
    assert runs.allocate(100) == 5  # all pages joined into one run again


def test_storage_is_a_limit_and_reads_zero_after_release() -> None:
    storage = RealStorage(reservation().window, 1 * MIB)
    frame = storage.allocate(100)
    view = storage.view(frame * PAGE_SIZE, PAGE_SIZE)
    view[:] = b"x" * PAGE_SIZE
    with pytest.raises(KernelError, match="wanted 819200 bytes in one run, found 630784 bytes free") as caught:
        storage.allocate(200)
    assert caught.value.errno == ENOMEM
    storage.release(frame, 100)
    assert storage.allocate(100) == frame
    assert bytes(view) == bytes(PAGE_SIZE)


def test_storage_view_stays_inside_storage() -> None:
    storage = RealStorage(reservation().window, 1 * MIB)
    assert len(storage.view(1 * MIB - 8, 8)) == 8
    for address in (-8, 1 * MIB - 4, 1 * MIB):
        with pytest.raises(ProgramCheckError, match="addressing exception"):
            storage.view(address, 8)


def test_operands_of_diagnose_are_checked_before_cp_sees_them(control_program: BlockingCp) -> None:
    with guest_kernel(control_program) as kernel:
        for address in (0x2004, 0x2FF8 + 4):
            with pytest.raises(ProgramCheckError, match="specification exception"):
                kernel.machine.diagnose_64(address, Diag64.FINDSEGX)
        with pytest.raises(ProgramCheckError, match="one page"):
            kernel.machine.diagnose_64(0x2FF0, Diag64.SEGEXTX)  # 24 bytes cross the page
        assert kernel.calls.packets == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_program_checks_survive_copying(again: Callable[[ProgramCheckError], ProgramCheckError]) -> None:
    error = again(ProgramCheckError("addressing exception: 8 bytes at 0x1000"))
    assert (error.errno, error.strerror) == (EINVAL, "addressing exception: 8 bytes at 0x1000")

"""What a proof freed goes back to the kernel, also below memory that is in use still."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dcss.verify.examine
from dcss.account.proc import read_proc
from dcss.account.smaps import parse_fields
from dcss.account.targets import SystemTarget
from dcss.config.plan import SystemPlan
from dcss.system.proof import Prover
from dcss.system.state import SystemState

BLOCK_BYTES = 100_000  # below malloc's threshold for mappings of their own
BLOCKS = 400
FREED_BYTES = BLOCK_BYTES * BLOCKS


def anonymous_bytes() -> int:
    return parse_fields(read_proc(os.getpid(), "smaps_rollup"))["Anonymous"]


@pytest.fixture
def holed() -> Iterator[None]:
    """A heap with many free pages, and a block in use at its end."""
    blocks = [bytearray(b"x" * BLOCK_BYTES) for _ in range(BLOCKS)]
    last = bytearray(b"x" * BLOCK_BYTES)
    del blocks
    yield
    del last


@pytest.mark.parametrize("fails", [False, True])
def test_a_proof_gives_free_memory_back(holed: None, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("a C library without malloc_trim")

    def verify(*_: Any, **__: Any) -> None:
        if fails:
            raise ZeroDivisionError

    monkeypatch.setattr(dcss.verify.examine, "examine", verify)
    before = anonymous_bytes()
    prover = Prover(SystemState(SystemPlan("none", (), (), Path("/none.yaml")), {}))
    try:
        prover._judge(SystemTarget("none", os.getpid(), (), (), ()), {}, None, None)
    except ZeroDivisionError:
        assert fails
    assert before - anonymous_bytes() > FREED_BYTES / 2

"""A CP of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp


@pytest.fixture
def control_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingCp]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with BlockingCp(f"test-{tmp_path.name[-20:].strip('-._')}") as cp:
        yield cp

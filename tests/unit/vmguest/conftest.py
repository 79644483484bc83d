"""A CP of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp as ControlProgram


@pytest.fixture
def control_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlProgram]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with ControlProgram(f"test-{tmp_path.name[-20:].strip('-._')}") as cp:
        yield cp

"""Fixtures that tests in several directories use; tests/conftest.py loads them.

`control_program` of cp_support is no fixture: it is for tests that need a CP for a part of them, or several.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import NOBODY, Dcss, made_user
from cp_support import BlockingCp
from needs_support import needs


@pytest.fixture(params=["self", pytest.param("nobody", marks=[pytest.mark.slow, needs("other_users")])])
def dcss(request: pytest.FixtureRequest) -> Iterator[Dcss]:
    """Give the command line of the user of the tests, and then of one without any privilege."""
    with made_user(uid=None if request.param == "self" else NOBODY) as user:
        yield user


@pytest.fixture
def control_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingCp]:
    """Give a running CP whose directories are the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with BlockingCp(f"test-{tmp_path.name[-20:].strip('-._')}") as cp:
        yield cp

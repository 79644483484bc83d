"""What a command builds is removed at its end, and what a killed one had built with the next command."""

import subprocess
import sys
from pathlib import Path

import pytest

from dcss.fleet.scratch import scratch_directory

KILLED = """
import os, signal
from dcss.fleet.scratch import scratch_directory
with scratch_directory() as scratch:
    (scratch / "image").write_bytes(b"large")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_command_leaves_goes_with_the_next_and_what_runs_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tmp_path.chmod(0o700)
    with scratch_directory() as first:
        subprocess.run([sys.executable, "-c", KILLED], check=False)
        assert len(list(first.parent.iterdir())) == 2
        with scratch_directory() as second:
            assert set(first.parent.iterdir()) == {first, second}
        assert list(first.parent.iterdir()) == [first]
    assert list(first.parent.iterdir()) == []

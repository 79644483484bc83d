"""Settings of KSM are as before, however the process that changed them ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from dcss.host import ksm

BEFORE = {"run": "0", "pages_to_scan": "100", "sleep_millisecs": "20", "advisor_mode": "none [scan-time]"}
RESTORED = BEFORE | {"advisor_mode": "scan-time"}
PROGRAM = """
import signal, sys
from pathlib import Path
from dcss.host import ksm
ksm.SETTINGS = Path(sys.argv[1])
with ksm.merging(ksm.FAST):
    print("merging", flush=True)
    signal.pause()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    for name, value in BEFORE.items():
        (tmp_path / name).write_text(value)
    return tmp_path


def _found(settings: Path) -> dict[str, str]:
    return {name: (settings / name).read_text() for name in BEFORE}


def test_the_block_changes_them_and_its_end_restores_them(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ksm, "SETTINGS", settings)
    with pytest.raises(KeyError), ksm.merging(ksm.FAST):
        assert _found(settings) == BEFORE | {"run": "1", "pages_to_scan": "10000", "advisor_mode": "none"}
        raise KeyError
    assert _found(settings) == RESTORED


def test_a_process_that_is_killed_leaves_them_as_they_were(settings: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(settings)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "merging\n"
        assert (settings / "run").read_text() == "1"
        process.kill()
        assert process.stderr.read() == ""  # ends when what restores them has ended, too
    assert _found(settings) == RESTORED


def test_what_cannot_be_restored_is_an_error(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ksm, "SETTINGS", settings)
    with pytest.raises(OSError, match="could not be restored"), ksm.merging(ksm.FAST):
        (settings / "run").unlink()
        (settings / "run").mkdir()

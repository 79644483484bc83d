"""Evidence that does not fit on its disk: the error names it, and an older file stays whole."""

import errno
import os
from pathlib import Path

import pytest
from cp_support import open_descriptors
from results_support import made_up_run

from dcss.account.targets import SystemTarget
from dcss.host.files import create_new
from dcss.verify import evidence
from dcss.verify.evidence import EvidenceFile


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new files stand in their directory, and have every write to them fail as on a full disk."""

    def create_on_full_disk(path: Path, mode: int = 0o600) -> int:
        os.close(create_new(path, mode))
        return os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC)

    monkeypatch.setattr(evidence, "create_new", create_on_full_disk)


def write(path: Path, records: int) -> None:
    with EvidenceFile(path, SystemTarget("T", os.getpid(), (), (), ()), frames=False) as file:
        file.begin([], [])
        for number in range(records):
            file.add("made_up", number=number, text=os.urandom(64).hex())
        file.finish(made_up_run().verify)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("name", ["evidence", "evidence.gz"])
@pytest.mark.parametrize("records", [0, 10_000], ids=["at the end", "on the way"])
def test_the_older_file_stays_whole(tmp_path: Path, name: str, records: int) -> None:
    path = tmp_path / name
    path.write_bytes(b"older")
    before = open_descriptors()
    with pytest.raises(OSError, match="No space left") as caught:
        write(path, records)
    assert caught.value.errno == errno.ENOSPC
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(name, b"older")]
    assert open_descriptors() == before


@pytest.mark.usefixtures("full_disk")
def test_no_file_is_left_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "evidence", 0)
    assert list(tmp_path.iterdir()) == []

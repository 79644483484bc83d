"""`--evidence` writes a regular file or nothing, and never waits for a reader."""

import os
from pathlib import Path

import pytest
from file_kind_support import WRONG_KINDS

from dcss.account.targets import SystemTarget
from dcss.host.files import WrongKindError
from dcss.verify.evidence import EvidenceFile


def begin(path: Path) -> None:
    with EvidenceFile(path, SystemTarget("T", os.getpid(), (), (), ()), frames=False) as evidence:
        evidence.begin([], [])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_no_other_kind_of_file_is_written_or_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "evidence"
    WRONG_KINDS[kind](path)
    with pytest.raises(WrongKindError, match=f"found {kind}, wanted a regular file"):
        begin(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["evidence"]


def test_a_file_beside_it_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"content")
    (tmp_path / f".evidence.{os.getpid()}.partial").symlink_to("victim")
    begin(tmp_path / "evidence")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("victim", b"content")]


def test_its_directory_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        begin(tmp_path / "none" / "evidence")

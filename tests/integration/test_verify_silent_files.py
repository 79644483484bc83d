"""A guest that holds files of a file system that does not answer any more: CP goes on, and says what is unknown."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claim_support import NO_COPIES, assert_verified, detail
from needs_support import needs
from segment_support import Stage, map_all, order
from silent_fuse_support import SilentFuse, silent_fuse

from dcss.host import file_questions
from dcss.host.file_questions import FileQuestions, FileStatus
from dcss.results import VerifyResult
from dcss.verify.examine import verify

pytestmark = needs("fuse")
SILENT = "its file system does not answer within 0.3 s"


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentFuse]:
    with silent_fuse() as mounted:
        silence = mounted.be_silent

        def be_silent() -> None:
            monkeypatch.setattr(file_questions, "ANSWER_SECONDS", 0.3)  # not before: a busy machine's answers take time
            silence()

        monkeypatch.setattr(mounted, "be_silent", be_silent)
        yield mounted


def proved(fuse: SilentFuse, verb: str, path: Path, **arguments: Any) -> list[VerifyResult]:
    """Prove twice after the file system has become silent."""
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order(verb, path=str(path), **arguments)])
        assert verify(stage.system).verdict == "verified"
        fuse.be_silent()
        return [verify(stage.system) for _ in range(2)]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("open_path", {}),
        ("open_path", {"flags": os.O_PATH}),
        ("open_path", {"flags": os.O_RDWR}),
        ("share_private", {}),
    ],
)
def test_a_file_that_is_open_or_mapped(fuse: SilentFuse, verb: str, arguments: dict[str, int]) -> None:
    for result in proved(fuse, verb, fuse.path, **arguments):
        assert result.verdict == "unproved"
        assert {claim.claim: claim.holds for claim in result.claims}[NO_COPIES] is None
        assert SILENT in detail(result, NO_COPIES)
        assert "guest LINUX01" in detail(result, NO_COPIES)


def test_a_directory_that_is_open(fuse: SilentFuse) -> None:
    for result in proved(fuse, "open_path", fuse.directory):
        assert SILENT in detail(result, NO_COPIES)


def test_a_working_directory_is_not_asked_for(fuse: SilentFuse) -> None:
    for result in proved(fuse, "change_directory", fuse.directory):
        assert_verified(result)


@pytest.mark.parametrize("verb", ["open_path", "share_private"])
def test_a_file_system_that_no_mount_table_shows_any_more(fuse: SilentFuse, verb: str) -> None:
    with Stage() as stage:
        stage.publish()
        stage.guest([*map_all(), order(verb, path=str(fuse.path))])
        fuse.unmount()
        assert_verified(verify(stage.system))
        fuse.be_silent()
        assert SILENT in detail(verify(stage.system), NO_COPIES)


def test_many_guests_cost_one_question(fuse: SilentFuse, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def status(questions: FileQuestions, path: str, ask: Any = FileQuestions.status) -> FileStatus:
        asked.append(path)
        return ask(questions, path)  # type: ignore[no-any-return]

    monkeypatch.setattr(FileQuestions, "status", status)
    with Stage() as stage:
        stage.publish()
        for _ in range(3):
            stage.guest([*map_all(), order("open_path", path=str(fuse.path))])
        fuse.be_silent()
        assert detail(verify(stage.system), NO_COPIES).count(SILENT) == 3
    assert len(asked) == 1

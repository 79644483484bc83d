"""`dcss inspect` without privileges: what may not be read is unknown, with what it takes, and never true."""

import mmap
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from claim_support import COUNTERS, NO_COPIES, ONE_FRAME, detail
from cli_support import NOBODY, made_user
from needs_support import needs
from peers_support import Peer, forking_peer, peers
from segment_support import without_privilege

from dcss.errors import ConfigError
from dcss.host.file_questions import FileQuestions
from dcss.inspect import selection
from dcss.inspect.inspection import inspect
from dcss.inspect.opening import OpenedObject, UnreadableError, open_path
from dcss.inspect.selection import Wanted
from dcss.results import InspectResult

PAGES = 16


@pytest.fixture
def file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dcss-") as name:  # not pytest's, which others may not enter
        directory = Path(name)
        directory.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
        path = directory / "shared"
        path.write_bytes(random.Random(21).randbytes(PAGES * mmap.PAGESIZE))
        yield path


def with_own_peers(file: Path, *words: str, act: Callable[[list[Peer]], InspectResult] | None = None) -> InspectResult:
    """Inspect processes of an ordinary user as that user, who started them."""

    def run() -> InspectResult:
        with peers(*words) as found:
            return inspect([peer.pid for peer in found], Wanted((str(file),))) if act is None else act(found)

    return without_privilege(run)


def test_own_processes_are_verified_by_mappings(file: Path) -> None:
    result = with_own_peers(file, f"map={file}", f"private={file}")
    assert (result.verify.verdict, result.verify.evidence) == ("verified", "mappings")
    (proof,) = result.verify.files
    assert (proof.checked_pages, proof.distinct_frames, proof.shared) == (PAGES, None, True)
    assert [row.one_frame_pages for row in result.objects] == [None]
    assert any("CAP_SYS_ADMIN" in limit for limit in result.verify.limits)
    assert "CAP_SYS_ADMIN" in detail(result.verify, COUNTERS)


def test_copies_of_own_processes_refute(file: Path) -> None:
    result = with_own_peers(file, f"map={file}", f"copy={file}")
    assert result.verify.verdict == "refuted"
    assert f"{PAGES} pages of {file}" in detail(result.verify, NO_COPIES)
    assert [row.copied_bytes for row in result.processes] == [0, PAGES * mmap.PAGESIZE]
    assert [row.merged_bytes for row in result.processes] == [0, None]


@needs("root")
def test_processes_of_others_are_unknown(file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        pids = [peer.pid for peer in found]
        result = without_privilege(lambda: inspect(pids, Wanted((str(file),))))
    assert result.verify.verdict == "unproved"
    for claim in (ONE_FRAME, NO_COPIES):
        assert "CAP_SYS_PTRACE" in detail(result.verify, claim)
    for row in result.processes:
        figures = (row.private_bytes, row.shared_bytes, row.total_bytes, row.copied_bytes, row.merged_bytes)
        assert figures == (None,) * 5
    assert result.measure.totals.saved_bytes is None


@needs("root")
def test_one_process_of_others_leaves_claims_open(file: Path) -> None:
    with peers(f"map={file}") as (other,):
        result = with_own_peers(
            file,
            f"map={file}",
            act=lambda found: inspect([found[0].pid, other.pid], Wanted((str(file),))),
        )
    assert result.verify.verdict == "unproved"
    assert f"process {other.pid}" in detail(result.verify, ONE_FRAME)


def test_a_deleted_file_is_opened_by_a_descriptor_that_is_left(file: Path) -> None:
    def run(found: list[Peer]) -> InspectResult:
        file.unlink()
        return inspect([peer.pid for peer in found], Wanted((), (str(file),)))

    assert with_own_peers(file, f"map={file}", f"map={file}", act=run).verify.verdict == "verified"


def test_memory_that_nothing_leads_to_is_unknown() -> None:
    def run() -> InspectResult:
        with forking_peer(1) as (server, children):
            return inspect([server.pid, *children])

    result = without_privilege(run)
    assert result.verify.verdict == "unproved"
    (row,) = [row for row in result.objects if row.unread is not None]
    assert row.path == "/dev/zero (deleted)"
    assert row.unread is not None
    assert "CAP_SYS_ADMIN" in row.unread
    assert row.path in detail(result.verify, ONE_FRAME)


@needs("other_users")
def test_a_file_that_may_not_be_read_is_unknown(file: Path) -> None:
    file.chmod(0o600)
    with made_user(uid=NOBODY) as user, peers(f"map={file}") as (peer,):
        done = user("inspect", str(peer.pid), "--file", file, status=1)
    assert "UNPROVED" in done.stdout
    assert "Permission denied" in done.stdout
    assert "CAP_DAC_READ_SEARCH" in done.stdout


def test_what_cannot_be_read_is_not_taken_for_absent(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    secret = file.with_name("secret")
    secret.write_bytes(file.read_bytes()[::-1])

    def opened(path: str, questions: FileQuestions) -> OpenedObject:
        if path == str(secret):
            raise UnreadableError("Permission denied; it takes more")
        return open_path(path, questions)

    monkeypatch.setattr(selection, "open_path", opened)
    with peers(f"map={file}", f"map={secret}") as found:
        result = inspect([peer.pid for peer in found], Wanted((str(file), str(secret)))).verify
    assert (result.verdict, [claim.claim for claim in result.claims if claim.holds is False]) == ("unproved", [])
    assert "it takes more" in detail(result, ONE_FRAME)


def test_nothing_to_look_at_is_said(file: Path) -> None:
    with pytest.raises(ConfigError, match="PID 4194304: found no process"):
        inspect([4194304], Wanted((str(file),)))

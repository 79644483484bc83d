"""`dcss inspect` of what does not keep still: processes that end, files that change, two looks that do not agree."""

import mmap
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claim_support import NO_COPIES, ONE_FRAME, detail
from peers_support import Peer, peers

from dcss.errors import LaunchError
from dcss.inspect import inspection, looks
from dcss.inspect.inspection import inspect
from dcss.inspect.selection import Wanted
from dcss.results import VerifyResult
from dcss.verify.claims import no_copies
from dcss.verify.search.system_search import search_system

PAGES = 16


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.write_bytes(random.Random(19).randbytes(PAGES * mmap.PAGESIZE))
    return path


def before_each(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, act: Callable[[int], object]) -> None:
    """Have `act` called before each call of a function, with how often that was called before."""
    real, calls = getattr(module, name), list[str]()

    def wrapped(*arguments: Any, **options: Any) -> Any:
        act(len(calls))
        calls.append(name)
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, wrapped)


def inspected(found: list[Peer], file: Path) -> VerifyResult:
    return inspect([peer.pid for peer in found], Wanted((str(file),))).verify


@pytest.mark.parametrize(("module", "name"), [(looks, "other_mappers"), (inspection, "search_system")])
def test_a_process_that_ends_meanwhile_is_named(
    monkeypatch: pytest.MonkeyPatch, file: Path, module: Any, name: str
) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        before_each(monkeypatch, module, name, lambda _: found[1].kill())
        with pytest.raises(LaunchError, match=rf"process {found[1].pid} \(.*\) ended while it was looked at"):
            inspected(found, file)


def test_a_process_that_ends_at_the_very_end_is_named(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        before_each(monkeypatch, no_copies, "judge", lambda _: found[0].kill())
        with pytest.raises(LaunchError, match=f"process {found[0].pid} "):
            inspected(found, file)


def test_a_file_that_is_truncated_meanwhile_leaves_claims_open(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found:
        before_each(monkeypatch, looks, "other_mappers", lambda _: os.truncate(file, 4 * mmap.PAGESIZE))
        result = inspected(found, file)
    assert result.verdict == "unproved", result.claims
    assert "changed while it was looked at" in detail(result, NO_COPIES)
    assert any("changed while it was looked at" in limit for limit in result.limits)


def test_a_file_that_is_written_meanwhile_leaves_the_claim_about_copies_open(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    def write(_: int) -> None:
        with file.open("r+b") as stream:
            stream.write(os.urandom(mmap.PAGESIZE))

    with peers(f"map={file}", f"map={file}") as found:
        before_each(monkeypatch, inspection, "search_system", write)
        result = inspected(found, file)
    judged = {claim.claim: claim.holds for claim in result.claims}
    assert (judged[ONE_FRAME], judged[NO_COPIES], result.verdict) == (True, None, "unproved")


def test_a_copy_that_comes_and_goes_leaves_the_claim_open(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    with peers(f"map={file}", f"map={file}") as found, peers([f"map={file}", f"copy={file}"]) as (copier,):
        # The process that copies is looked at every second time only.
        calls: list[int] = []

        def search(system: Any, *arguments: Any, **options: Any) -> Any:
            calls.append(len(calls))
            pid = copier.pid if calls[-1] % 2 else found[1].pid
            guests = (system.guests[0], replace(system.guests[1], pids=(pid,)))
            return search_system(replace(system, guests=guests), *arguments, **options)

        monkeypatch.setattr(inspection, "search_system", search)
        result = inspected(found, file)
    assert len(calls) == looks.MOST_LOOKS
    assert "two looks did not see the same" in detail(result, NO_COPIES)
    assert result.verdict == "unproved"


def test_a_refutation_in_one_look_alone_does_not_count(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    first_look = [True]
    with peers(f"map={file}", f"map={file}") as found:
        real = looks.PageTables.look

        def look(tables: looks.PageTables) -> looks.PageLook:
            seen = real(tables)
            if first_look.pop() if first_look else False:
                seen.snapshot.guests[0].segments[0].wrong[3] = True
            return seen

        monkeypatch.setattr(looks.PageTables, "look", look)
        result = inspected(found, file)
    assert result.verdict == "verified", result.claims


def test_looks_that_never_agree_leave_the_claim_open(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    number = iter(range(100))
    with peers(f"map={file}", f"map={file}") as found:
        real = looks.PageTables.look

        def look(tables: looks.PageTables) -> looks.PageLook:
            seen = real(tables)
            seen.snapshot.guests[0].segments[0].wrong[next(number)] = True
            return seen

        monkeypatch.setattr(looks.PageTables, "look", look)
        result = inspected(found, file)
    assert result.verdict == "unproved"
    assert "two looks did not see the same" in detail(result, ONE_FRAME)


def test_memory_that_the_processes_write_is_judged_all_the_same(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    with peers(f"map={file}", f"write={file}") as found:
        before_each(monkeypatch, inspection, "search_system", lambda _: os.utime(file))
        result = inspected(found, file)
    assert result.verdict == "verified", result.claims

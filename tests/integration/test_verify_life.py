"""Guests end, move and refuse while they are verified: a clear error or an honest verdict, never a traceback."""

from dataclasses import replace
from typing import Any

import pytest
from claim_support import NO_COPIES, assert_verified, detail
from needs_support import needs
from segment_support import Stage, map_all, order
from wait_support import kill

from dcss.account.space import ProcessPages
from dcss.errors import LaunchError, MeasurementDeniedError
from dcss.verify import examine
from dcss.verify.examine import verify
from dcss.verify.search import system_search
from dcss.verify.search.process_memory import ProcessMemory

pytestmark = needs("frames")


def test_guest_that_ended_before(stage_of_two: Stage) -> None:
    pid = stage_of_two.guests[1].pids[0]
    kill(pid)
    with pytest.raises(LaunchError, match=rf"guest LINUX02: process {pid} ended while /proc/{pid}/maps was read"):
        verify(stage_of_two.system)


def test_guest_that_ends_between_reading_and_searching(stage_of_two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = stage_of_two.guests[0].pids[0]

    def kill_first(*arguments: Any, **more: Any) -> object:
        kill(pid)
        return search(*arguments, **more)

    search = system_search.search_system
    monkeypatch.setattr(examine, "search_system", kill_first)
    with pytest.raises(LaunchError, match=f"guest LINUX01: process {pid} ended"):
        verify(stage_of_two.system)


def test_fork_server_that_ended(stage_of_two: Stage) -> None:
    server = stage_of_two.server
    server.kill()
    server.wait()
    with pytest.raises(LaunchError, match=f"system stage: process {server.pid} ended"):
        verify(stage_of_two.system)


def test_books_that_settle_at_the_second_look(stage_of_two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # A page that was absent at the first look only: reclaim, migration, a guest that is still at work.
    looks = []
    read = ProcessPages.read

    def forgetful(cls: type[ProcessPages], pid: int, objects: frozenset[tuple[int, int]] | None = None) -> ProcessPages:
        space = read(pid, objects)
        if pid == stage_of_two.guests[0].pids[0]:
            looks.append(pid)
            if len(looks) == 1:
                kept = space.pages != (stage_of_two.user_area.start >> 12) + 3
                return replace(space, pages=space.pages[kept], entries=space.entries[kept])
        return space

    monkeypatch.setattr(ProcessPages, "read", classmethod(forgetful))
    result = verify(stage_of_two.system)
    assert len(looks) == 2
    assert_verified(result)


def test_memory_that_cannot_be_read_is_unknown(stage_of_two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    read = ProcessMemory.read
    monkeypatch.setattr(
        ProcessMemory, "read", lambda memory, page, buffer: 0 if page % 97 == 0 else read(memory, page, buffer[:4096])
    )
    result = verify(stage_of_two.system)
    claim = result.claims[1]
    assert claim.holds is None
    assert "cannot be read" in claim.detail
    assert result.verdict == "unproved"  # nothing is refuted, but a claim that applies could not be judged


def test_descriptors_that_cannot_be_seen_are_unknown(stage_of_two: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(pid: int, _numbers: object, _backings: object) -> list[object]:
        raise MeasurementDeniedError(f"/proc/{pid}/fd: Permission denied")

    monkeypatch.setattr(system_search, "open_files", closed)
    result = verify(stage_of_two.system)
    assert [claim.holds for claim in result.claims] == [True, None, True, True]
    assert "not all descriptors could be seen: guest LINUX01: /proc/" in detail(result, NO_COPIES)
    assert len(result.limits) == 2


def test_verify_must_run_in_cp(stage_of_two: Stage) -> None:
    system = stage_of_two.system
    other = type(system)(system.name, 1, system.other_pids, system.guests, system.segments)
    with pytest.raises(ValueError, match="found CP in process 1, wanted it to be"):
        verify(other)


def test_system_without_guests() -> None:
    with Stage() as stage:
        stage.publish()
        result = verify(stage.system)
    assert result.verdict == "unproved"
    assert [claim.applies for claim in result.claims] == [False, False, True, True]
    assert "no guest is expected to share" in detail(result, NO_COPIES)


def test_system_without_segments() -> None:
    with Stage() as stage:
        stage.guest([order("storage", pages=4)])
        result = verify(stage.system)
    assert result.verdict == "refuted"
    assert [claim.holds for claim in result.claims] == [False, None, None, None]


@pytest.fixture
def stage_of_two() -> object:
    with Stage() as stage:
        stage.publish()
        for _ in range(2):
            stage.guest(map_all())
        yield stage

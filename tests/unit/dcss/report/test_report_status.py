"""The status of systems as text."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dcss.report.blocks import Block
from dcss.report.failure_view import failed_guests
from dcss.report.layout import render_block
from dcss.report.pages import up_page
from dcss.report.status_view import status_section
from dcss.report.style import Style
from dcss.results import GuestStatus, SystemStatus

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


def guest(name: str, state: str, **changes: Any) -> GuestStatus:
    status = GuestStatus(
        name=name,
        engine="process",
        state=state,
        since="2026-05-04T11:59:58Z",
        pid=7,
        segments=("LIB", "APP"),
        restarts=0,
        exit_status=None,
        reason=None,
        log=f"/run/{name}.log",
    )
    return replace(status, **changes)


def system(*guests: GuestStatus) -> SystemStatus:
    return SystemStatus("demo", "up", 5, "2026-05-03T10:00:00Z", "/d.yaml", "/run/cp.log", guests, ())


def text(blocks: Sequence[Block]) -> list[str]:
    return [line for block in blocks for line in render_block(block, Style())]


def test_a_line_for_each_guest() -> None:
    section = status_section(
        system(
            guest("A", "ready"),
            guest("B", "killed", pid=None, segments=(), exit_status=-9, since="2026-05-03T10:00:01Z"),
            guest("C", "running", restarts=2),
        ),
        {"A": 3 << 20, "C": None},
        NOW,
    )
    assert text(section) == [
        "demo: up since 2026-05-03 10:00:00, 3 guests, CP is process 5, from /d.yaml",
        "GUEST   ENGINE    STATE     SINCE                 PRIVATE   RESTARTS   SEGMENTS",
        "A       process   ready     11:59:58              3.0 MiB          0   LIB APP",
        "B       process   killed    2026-05-03 10:00:01         -          0   -",
        "C       process   running   11:59:58                  n/a          2   LIB APP",
    ]


def test_a_system_without_guests_is_its_head() -> None:
    assert len(text(status_section(system(), {}, NOW))) == 1


def test_failures_are_shown_with_the_end_of_the_log() -> None:
    log = "\n".join(f"line {number}" for number in range(20))
    failed = [
        guest("A", "failed", exit_status=1, reason=log),
        guest("B", "killed", exit_status=-11, reason=""),
        guest("C", "restarting", exit_status=1, reason="again", restarts=4),
        *(guest(f"D{number}", "failed", exit_status=1, reason="x") for number in range(4)),
    ]
    found = system(guest("OK", "ready"), guest("S", "stopped", pid=None), *failed)
    assert failed_guests(found) == tuple(failed)
    lines = text(up_page(found, 1.234, "next")[0])
    assert lines[0] == "FAILED    A: failed with status 1"
    assert lines[1] == "          line 8"
    assert lines[12] == "          line 19"
    assert lines[13] == "FAILED    B: was killed"
    assert lines[14] == "FAILED    C: failed with status 1, and is started again after 3 restarts"
    assert lines[-2] == "          and 2 more guests; see dcss ps"
    assert lines[-1] == "demo: up in 1.23 s, 1 guest ready, 7 failed; next"


def test_a_log_cannot_move_the_cursor() -> None:
    failed = system(guest("A", "failed", exit_status=1, reason="\x1b[2Jgone"))
    lines = text(up_page(failed, 1.0, "next")[0])
    assert lines[1] == "          \\x1b[2Jgone"

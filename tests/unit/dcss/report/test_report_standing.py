"""The status of systems as text."""

from datetime import UTC, datetime
from typing import Any

from dcss.report.standing_view import failed_guests, failure_lines, system_lines, up_line
from dcss.report.style import Style

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


def guest(name: str, state: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "name": name,
        "engine": "process",
        "state": state,
        "since": "2026-05-04T11:59:58Z",
        "pid": 7,
        "segments": ["LIB", "APP"],
        "restarts": 0,
        "exit_status": None,
        "reason": None,
    }
    return fields | changes


def form(*guests: dict[str, Any]) -> dict[str, Any]:
    return {
        "system": "demo",
        "state": "up",
        "since": "2026-05-03T10:00:00Z",
        "pid": 5,
        "config": "/d.yaml",
        "guests": guests,
    }


def test_a_line_for_each_guest() -> None:
    lines = system_lines(
        form(
            guest("A", "ready"),
            guest("B", "killed", pid=None, segments=[], exit_status=-9, since="2026-05-03T10:00:01Z"),
            guest("C", "running", restarts=2),
        ),
        {"A": 3 << 20, "C": None},
        NOW,
        Style(),
    )
    assert lines == [
        "demo: up since 2026-05-03 10:00:00, 3 guests, CP is process 5, from /d.yaml",
        "GUEST   ENGINE    STATE     SINCE                 PRIVATE   RESTARTS   SEGMENTS",
        "A       process   ready     11:59:58              3.0 MiB          0   LIB APP",
        "B       process   killed    2026-05-03 10:00:01         -          0   -",
        "C       process   running   11:59:58                  n/a          2   LIB APP",
    ]


def test_a_system_without_guests_is_its_head() -> None:
    assert len(system_lines(form(), {}, NOW, Style())) == 1


def test_failures_are_told_with_the_end_of_the_log() -> None:
    log = "\n".join(f"line {number}" for number in range(20))
    failed = [
        guest("A", "failed", exit_status=1, reason=log),
        guest("B", "killed", exit_status=-11, reason=""),
        guest("C", "restarting", exit_status=1, reason="again", restarts=4),
        *(guest(f"D{number}", "failed", exit_status=1, reason="x") for number in range(4)),
    ]
    found = form(guest("OK", "ready"), guest("S", "stopped", pid=None), *failed)
    assert failed_guests(found) == failed
    lines = failure_lines(found, Style())
    assert lines[0] == "FAILED    A: failed with status 1"
    assert lines[1] == "          line 8"
    assert lines[12] == "          line 19"
    assert lines[13] == "FAILED    B: was killed"
    assert lines[14] == "FAILED    C: failed with status 1, and is started again after 3 restarts"
    assert lines[-1] == "          and 2 more guests; see dcss ps"
    assert up_line(found, 1.234) == "demo: up in 1.23 s, 1 guest ready, 7 failed"


def test_a_log_cannot_move_the_cursor() -> None:
    lines = failure_lines(form(guest("A", "failed", exit_status=1, reason="\x1b[2Jgone")), Style())
    assert lines[1] == "          \\x1b[2Jgone"

"""Progress: lines for logs, bars for terminals, and no other thread."""

import io
import re
import threading

import pytest

from dcss.progress import Progress, SilentProgress
from dcss.report.progress import BarProgress, PlainProgress, fmt_amount, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(progress: Progress) -> None:
    progress.phase("build LIB", 8 << 20, "bytes")
    progress.advance(4 << 20)
    progress.warn("odd [red]thing[/red]")
    progress.advance(4 << 20)
    progress.phase("start guests", 2, "guests")
    progress.advance()
    progress.advance()
    progress.phase("verify", 1, "guests")
    progress.advance()
    progress.phase("measure")
    progress.close()
    progress.close()


def test_lines_say_what_was_done_how_much_and_how_long() -> None:
    stream = io.StringIO()
    work(PlainProgress(stream))
    lines = re.sub(r"\d+\.\d\d s", "N s", stream.getvalue()).splitlines()
    assert lines == [
        "warning: odd [red]thing[/red]",
        "build LIB, 8.0 MiB, N s",
        "start guests, 2 guests, N s",
        "verify, 1 guest, N s",
        "measure, N s",
    ]


def test_bars_are_gone_at_the_end_and_warnings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("dcss.report.progress._DRAW_SECONDS", 0.0)
    stream = Terminal()
    threads = threading.active_count()
    progress = progress_for(stream)
    assert isinstance(progress, BarProgress)
    progress.phase("build LIB", 8 << 20, "bytes")
    assert threading.active_count() == threads
    work(progress)
    shown = stream.getvalue()
    assert "4.0 MiB of 8.0 MiB" in shown
    assert "2 guests of 2 guests" in shown
    assert "odd [red]thing[/red]" in shown
    assert "\x1b[?25h" in shown.rpartition("verify")[2], "the cursor must be shown again"


def test_bars_are_green_while_they_run_and_move_without_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("dcss.report.progress._DRAW_SECONDS", 0.0)
    stream = Terminal()
    progress = progress_for(stream)
    progress.phase("start guests", 2, "guests")
    progress.advance()
    assert "\x1b[32m━" in stream.getvalue()
    assert "38;5;197" not in stream.getvalue(), "rich's own colour of a bar that runs, a red"
    progress.phase("plan LIB")
    before = len(stream.getvalue())
    progress.advance(0)
    progress.close()
    assert len(stream.getvalue()) > before


def test_a_warning_on_a_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = progress_for(stream)
    progress.warn("left out: /x\x1b]0;title\x07\u202e")
    progress.close()
    assert r"left out: /x\033]0;title\a\342\200\256" in stream.getvalue()


def test_a_pipe_and_a_dumb_terminal_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress_for(io.StringIO()), PlainProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_for(Terminal()), PlainProgress)


def test_silence_lets_warnings_through() -> None:
    stream = io.StringIO()
    work(SilentProgress(stream))
    assert stream.getvalue() == "warning: odd [red]thing[/red]\n"
    work(SilentProgress())


def test_amounts_have_their_unit() -> None:
    assert fmt_amount(25347, "pages") == "25,347 pages"
    assert fmt_amount(1 << 20, "bytes") == "1.0 MiB"

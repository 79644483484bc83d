"""A process in the background: what it tells its caller, and how it ends."""

import io
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from wait_support import wait_until

from dcss.errors import ConfigError, ImageError, LaunchError, PublishError, SystemBusyError
from dcss.progress import SilentProgress
from dcss.report.progress import PlainProgress
from dcss.system.daemon import start_in_background
from dcss.system.startup import StartupNotifier

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def start(serve: Any, stream: io.StringIO | None = None) -> dict[str, Any]:
    return start_in_background(serve, SilentProgress() if stream is None else PlainProgress(stream))


def descriptors(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(link))  # noqa: PTH115
    return found


def test_progress_comes_through_and_up_returns_while_it_goes_on() -> None:
    def serve(caller: StartupNotifier) -> None:
        caller.phase("publish X", 10, "bytes")
        caller.advance(4)
        caller.advance(6)
        caller.warn("mind the gap")
        caller.phase("rest")
        caller.up({"pid": os.getpid(), "session": os.getsid(0), "cwd": os.getcwd()})  # noqa: PTH109
        time.sleep(60)

    stream = io.StringIO()
    form = start(serve, stream)
    assert form["session"] == form["pid"] != os.getpid()
    assert form["cwd"] == "/"
    assert "publish X, 10 B, " in stream.getvalue()
    assert "warning: mind the gap" in stream.getvalue()
    # The pipe is closed right after its last word.
    wait_until(lambda: descriptors(form["pid"]) == {"/dev/null"}, lambda: descriptors(form["pid"]))
    assert os.waitpid(form["pid"], os.WNOHANG) == (0, 0)
    os.kill(form["pid"], signal.SIGKILL)
    os.waitpid(form["pid"], 0)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConfigError("a.yaml:1: one", "a.yaml:2: two"), ConfigError, "a.yaml:1: one\na.yaml:2: two"),
        (ImageError("too large"), ImageError, "too large"),
        (SystemBusyError("runs"), SystemBusyError, "runs"),
        (PublishError("full"), PublishError, "full"),
        (OSError(28, "No space left on device"), LaunchError, "No space left"),
    ],
)
def test_errors_come_through(error: Exception, kind: type[Exception], text: str) -> None:
    def serve(_: StartupNotifier) -> None:
        raise error

    with pytest.raises(kind) as caught:
        start(serve)
    assert type(caught.value) is kind
    assert text in str(caught.value)


def test_a_fault_comes_with_its_traceback() -> None:
    def serve(_: StartupNotifier) -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(RuntimeError, match="by nothing") as caught:
        start(serve)
    assert "test_daemon.py" in str(caught.value)


def test_an_end_without_a_word_is_an_error() -> None:
    with pytest.raises(LaunchError, match=r"CP \(process \d+\) ended by signal 9 before its system was up"):
        start(lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(LaunchError, match="ended with status 0 before"):
        start(lambda _: None)


@pytest.mark.parametrize("stopped", [False, True])
def test_an_interrupt_takes_it_down(stopped: bool) -> None:
    told: list[int] = []

    class Interrupting(SilentProgress):
        def phase(self, name: str, *_: Any) -> None:
            told.append(int(name))
            if stopped:
                os.kill(told[0], signal.SIGSTOP)
                assert os.WIFSTOPPED(os.waitpid(told[0], os.WUNTRACED)[1])
            raise KeyboardInterrupt

    def serve(caller: StartupNotifier) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        caller.phase(str(os.getpid()))
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        start_in_background(serve, Interrupting())
    with pytest.raises(ProcessLookupError):
        os.kill(told[0], 0)


@pytest.mark.parametrize("interrupted", ["caller", "background process"])
def test_an_interrupt_during_the_fork_takes_it_down(monkeypatch: pytest.MonkeyPatch, interrupted: str) -> None:
    forked: list[int] = []
    fork = os.fork

    def interrupted_fork() -> int:
        pid = fork()
        forked.append(pid)
        if (pid == 0) == (interrupted != "caller"):
            signal.raise_signal(signal.SIGINT)
        return pid

    def serve(_: StartupNotifier) -> None:
        signal.pause()

    monkeypatch.setattr(os, "fork", interrupted_fork)
    with pytest.raises(KeyboardInterrupt if interrupted == "caller" else LaunchError):
        start(serve)
    with pytest.raises(ChildProcessError):  # it has ended, and is reaped
        os.waitpid(forked[0], 0)


def test_a_caller_that_is_gone_is_not_missed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    caller = StartupNotifier(writing)
    caller.phase("one")
    caller.advance()
    caller.up({})
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writing)


def reported(*calls: Callable[[StartupNotifier], object]) -> list[list[Any]]:
    """Return what a caller is sent, line by line."""
    reading, writing = os.pipe()
    caller = StartupNotifier(writing)
    for call in calls:
        call(caller)
    with os.fdopen(reading, "rb") as pipe:
        return [json.loads(line) for line in pipe]


def test_each_report_is_a_line_and_nothing_follows_the_last_one() -> None:
    assert reported(
        lambda caller: caller.phase("start guests", 3, "guests"),
        lambda caller: caller.advance(),
        lambda caller: caller.advance(0),
        lambda caller: caller.warn("a warning"),
        lambda caller: caller.close(),
        lambda caller: caller.up({"system": "S"}),
        lambda caller: caller.warn("too late"),
        lambda caller: caller.error(ValueError("too late")),
    ) == [
        ["phase", "start guests", 3, "guests"],
        ["advance", 1],
        ["advance", 0],
        ["warn", "a warning"],
        ["up", {"system": "S"}],
    ]


def test_an_error_is_sent_with_its_findings_and_with_its_traceback_where_it_is_a_fault() -> None:
    (wrong,) = reported(lambda caller: caller.error(ConfigError("one", "two")))
    assert wrong == ["error", "ConfigError", ["one", "two"], ""]
    (refused,) = reported(lambda caller: caller.error(OSError(2, "No such file")))
    assert refused == ["error", "FileNotFoundError", ["[Errno 2] No such file"], ""]
    (kind, name, lines, fault) = reported(lambda caller: caller.error(ValueError()))[0]
    assert (kind, name, lines) == ("error", "ValueError", ["ValueError()"])
    assert "ValueError" in fault

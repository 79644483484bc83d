"""One run of a guest as CP sees it: before it has a process, and how it ended."""

from errno import ESRCH
from pathlib import Path

import pytest
from engine_support import READY, FakeInstance
from loop_support import in_event_loop
from system_support import guest

from dcss.abi.console import FileAccess, Verdict
from dcss.abi.hypercall import Reply, Request
from dcss.engines.base import End
from dcss.errors import LaunchError
from dcss.host.files import LOG_TAIL_BYTES
from dcss.results import MountAccess
from dcss.system.instance import GuestInstance, signal_name

FAILED = Verdict(2, 0.1, 0, 0, 0, message="no such file")


def run(tmp_path: Path, *, verdict: Verdict | None = None, end: End | None = None) -> GuestInstance:
    return GuestInstance(guest("G"), tmp_path / "G.log", verdict=verdict, end=end)


def test_before_it_has_a_process_there_is_nothing_to_read_kill_or_ask(tmp_path: Path) -> None:
    one = run(tmp_path)
    with pytest.raises(OSError, match="guest G has no process to read its storage from") as caught:
        one.read_storage(3, 0, 4096)
    assert caught.value.errno == ESRCH
    one.kill()
    assert (one.pids, one.running_or_ending, one.exit_status, one.ready) == ((), False, None, False)
    with pytest.raises(LaunchError, match="its `run:` list has not ended well"):
        one._ready("exec")
    with pytest.raises(LaunchError, match="guest G: exec needs a guest that is ready; it has ended"):
        run(tmp_path, end=End(0))._ready("exec")


@pytest.mark.parametrize(
    ("verdict", "end", "found"),
    [
        (None, End(-9), (-9, "killed by SIGKILL", True)),
        (None, End(-9, "it was slow"), (-9, "it was slow", False)),
        (None, End(3), (3, "ended with status 3", False)),
        (FAILED, End(2), (2, "no such file", False)),
        (FAILED, End(-9), (-9, "no such file", False)),
        (FAILED._replace(message=""), End(2), (2, "failed with status 2", False)),
        (READY, End(-15), (-15, "killed by SIGTERM", True)),
        (READY, End(0), (0, "ended with status 0", False)),
    ],
)
def test_how_it_ended(tmp_path: Path, verdict: Verdict | None, end: End, found: tuple[int, str, bool]) -> None:
    one = run(tmp_path, verdict=verdict, end=end)
    assert (one.outcome().exit_status, one.failure(), one.killed) == found
    assert not one.ready


def test_the_log_of_one_that_failed_is_shown_from_its_last_bytes(tmp_path: Path) -> None:
    (tmp_path / "G.log").write_bytes(b"x" * LOG_TAIL_BYTES + b"last line\n")
    assert run(tmp_path, end=End(1)).outcome().log == "x" * (LOG_TAIL_BYTES - 10) + "last line"
    assert run(tmp_path, verdict=READY, end=End(0)).outcome().log == ""
    assert run(tmp_path, verdict=READY).outcome().exit_status == 0
    assert run(tmp_path).outcome().exit_status == -1
    (tmp_path / "G.log").unlink()
    assert run(tmp_path, end=End(1)).outcome().log.startswith("its log cannot be read: ")


def test_signals_have_names_as_far_as_they_have_one() -> None:
    assert [signal_name(number) for number in (9, 15, 4000)] == ["SIGKILL", "SIGTERM", "signal 4000"]


@in_event_loop
async def test_how_files_are_reached_is_the_guests_own_word_and_nothing_before_it_was_started(tmp_path: Path) -> None:
    async def answer(_: Request) -> Reply:
        return Reply(0)

    one = run(tmp_path)
    assert one.mounts == ()
    running = FakeInstance(one.plan, answer, 7)
    running.access = (FileAccess("dcssblk0", "/", "xip", "page-cache"),)
    one.running = running
    assert one.mounts == (MountAccess("dcssblk0", "/", "xip", "page-cache"),)
    assert (one.pids, one.running_or_ending) == ((7,), True)
    one.end = End(0)
    assert (one.pids, one.running_or_ending) == ((), False)

"""A run of benchmarks that is ended by a signal leaves nothing behind: processes, files, mounts, settings of KSM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import SOURCE
from needs_support import needs
from system_support import wait_gone

RUN = """
import signal, sys
from pathlib import Path
from benchmarks.framework.kernel_books import tree_of
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.session import Interrupted, Session
try:
    with Session(quick=True) as session, session.directory("test") as directory:
        image = library_image(session, directory, 1 << 20)
        config = config_of(session, f"ended-{session.name}", image.path, 2)
        order = {"count": 2, "work": "map", "path": str(image.path)}
        with session.served("system", str(config)) as system, session.bare(order) as bare:
            print(session.scratch, f"ended-{session.name}", *tree_of(system.pid), *tree_of(bare.pid), flush=True)
            signal.pause()
except Interrupted as interrupted:
    sys.exit(interrupted.exit_status)
"""
MERGING = """
import signal
from benchmarks.framework.ksm import FAST, merging
from benchmarks.framework.session import Session
with Session(quick=True), merging(FAST):
    print(flush=True)
    signal.pause()
"""
TIED = """
import signal, subprocess
from benchmarks.framework.served import tied
with subprocess.Popen([*tied(), "sh", "-c", "echo $$; exec sleep 600"], start_new_session=True):
    signal.pause()
"""


def start(program: str) -> "subprocess.Popen[str]":
    """Run a program of the benchmarks in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_a_signal_ends_the_run_and_all_that_it_started(number: signal.Signals) -> None:
    with start(RUN) as process:
        assert process.stdout is not None
        scratch, system, *pids = process.stdout.readline().split()
        assert all(Path("/proc", pid).exists() for pid in pids)
        process.send_signal(number)
        assert process.wait(300) == 128 + number
    assert not Path(scratch).exists()
    assert [path.name for path in Path("/dev/shm").glob(f"dcss.{system}.*")] == []
    wait_gone(*map(int, pids))


def test_a_virtual_machine_ends_with_a_run_that_is_killed() -> None:
    with start(TIED) as process:
        assert process.stdout is not None
        machine = int(process.stdout.readline())
        process.kill()
    wait_gone(machine)


def ksm_settings() -> dict[str, str]:
    """Return what a benchmark changes."""
    names = ("run", "pages_to_scan", "sleep_millisecs", "advisor_mode")
    return {name: path.read_text() for name in names if (path := Path("/sys/kernel/mm/ksm", name)).exists()}


@needs("ksm")
def test_a_signal_restores_the_settings_of_ksm() -> None:
    before = ksm_settings()
    with start(MERGING) as process:
        assert process.stdout is not None
        process.stdout.readline()
        during = ksm_settings()
        process.send_signal(signal.SIGINT)
        process.wait(300)
    assert during["pages_to_scan"] != before["pages_to_scan"]
    assert during["run"] == "1\n"
    assert ksm_settings() == before

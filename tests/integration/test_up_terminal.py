"""`dcss up` in a terminal: progress, Ctrl-C, and a terminal that is closed."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pytest
from cli_support import BUSY, GUEST, MAP, Dcss

# pexpect's pty forks without exec; by itself this process has no thread, a library's may.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
SECONDS = 180


@contextmanager
def terminal(dcss: Dcss, words: list[str]) -> Iterator["pexpect.spawn[Any]"]:
    environment = {**dcss.environment, "TERM": "xterm", "COLUMNS": "100"}
    child = pexpect.spawn(
        words[0],
        words[1:],
        cwd=str(dcss.home),
        env=environment,
        timeout=SECONDS,
        dimensions=(40, 100),
        preexec_fn=dcss.become,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def test_ctrl_c_takes_a_foreground_system_down(dcss: Dcss) -> None:
    with terminal(dcss, dcss.command("up", dcss.guests(3))) as child:
        child.expect_exact("3 guests ready; Ctrl-C takes it down")
        assert dcss.states() == {"G01": "ready", "G02": "ready", "G03": "ready"}
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 128 + signal.SIGINT
        assert child.before is not None
        assert b"Traceback" not in child.before
        assert dcss.left() == []


def test_a_foreground_system_prints_what_happens_to_its_guests(dcss: Dcss) -> None:
    with terminal(dcss, dcss.command("up", dcss.guests(2))) as child:
        child.expect_exact("Ctrl-C takes it down")
        dcss("guest", "stop", "G02")
        subprocess.run(["kill", "-9", str(dcss.pid_of("G01"))], check=True)
        child.expect_exact("guest G01: killed by SIGKILL")
        dcss("down")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 3  # a guest had failed
    dcss.assert_nothing_left()


def test_a_closed_terminal_takes_a_foreground_system_down(dcss: Dcss) -> None:
    with terminal(dcss, dcss.command("up", dcss.guests(2))) as child:
        child.expect_exact("Ctrl-C takes it down")
        child.close(force=False)
    dcss.assert_nothing_left()


def test_a_closed_terminal_leaves_a_background_system_up(dcss: Dcss) -> None:
    with terminal(dcss, ["bash", "--norc", "-i"]) as child:
        child.sendline(" ".join(dcss.command("up", dcss.guests(2), "-d")))
        child.expect_exact("2 guests ready")
        child.close(force=True)
    assert dcss.states() == {"G01": "ready", "G02": "ready"}
    dcss("guest", "restart", "G01")  # CP can still write wherever it wants to
    assert dcss.json("verify")["verdict"] == "verified"
    dcss("down")
    dcss.assert_nothing_left()


def test_ctrl_c_while_guests_start_leaves_nothing(dcss: Dcss) -> None:
    for detach in ([], ["-d"]):
        with terminal(dcss, dcss.command("up", dcss.config(*BUSY), *detach)) as child:
            child.expect_exact("start guests")
            while not any(name.startswith("dcss:G") for name in dcss.processes().values()):
                assert child.isalive()
            child.sendintr()
            child.expect(pexpect.EOF)
            child.wait()
            assert child.exitstatus == 128 + signal.SIGINT
        dcss.assert_nothing_left()


def test_measure_redraws_on_a_terminal(dcss: Dcss) -> None:
    dcss("up", dcss.guests(2), "-d")
    with terminal(dcss, dcss.command("measure", "--watch", "0.1")) as child:
        for _ in range(2):
            child.expect_exact("\x1b[H\x1b[J")
            child.expect_exact("each counted alone")
        child.sendintr()
        child.expect(pexpect.EOF)
    with terminal(dcss, dcss.command("ps", "--watch", "0.1")) as child:
        for _ in range(2):
            child.expect_exact("\x1b[H\x1b[J")
            child.expect_exact("G02")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 128 + signal.SIGINT
    dcss("down")
    dcss.assert_nothing_left()


def test_completion_offers_systems_and_guests(dcss: Dcss) -> None:
    dcss("up", dcss.config(f"name: G, count: 2, {GUEST}, {MAP}"), "-d")

    def offered(*words: str) -> list[str]:
        environment = {
            **dcss.environment,
            "_DCSS_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        done = dcss(env=environment)
        assert done.stderr == ""
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert offered("dcss", "ver") == ["verify"]
    assert offered("dcss", "down", dcss.system[:5]) == [dcss.system]
    assert offered("dcss", "exec", "G") == ["G01", "G02"]
    assert offered("dcss", "guest", "stop", "G02") == ["G02"]
    dcss("down")
    script = dcss("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "_DCSS_COMPLETE=bash_complete" in script

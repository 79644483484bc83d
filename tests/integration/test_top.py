"""`dcss top` on real terminals of both sizes, in a pipe, and on every way out."""

import json
import os
import re
import resource
import signal
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from cli_support import GUEST, MAP, Dcss, made_user

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
KEYS = "q quit  p g c r n sort"
SECONDS = 180


@pytest.fixture(scope="module")
def up() -> Iterator[Dcss]:
    with made_user() as dcss:
        dcss("up", dcss.config(f"name: G, count: 4, {GUEST}, {MAP}", f"name: OTHER, {GUEST}, {MAP}"), "-d")
        yield dcss
        dcss("down")


@contextmanager
def on_terminal(dcss: Dcss, *, columns: int = 80, rows: int = 24) -> Iterator["pexpect.spawn[str]"]:
    """Yield `dcss top` after its first look, on a terminal of its own."""
    command, *words = dcss.command("top", dcss.system, "--interval", "3600")
    environment = {**dcss.environment, "TERM": "xterm", "PYTHONUTF8": "1"}
    environment.pop("COLUMNS", None)
    terminal = pexpect.spawn(
        command, words, env=environment, dimensions=(rows, columns), encoding="utf-8", timeout=SECONDS, cwd=dcss.home
    )
    try:
        terminal.expect_exact(ENTER)
        terminal.expect_exact(KEYS)
        yield terminal
    finally:
        terminal.close(force=True)


def test_it_sorts_filters_and_folds_by_keys_and_q_puts_the_terminal_back(up: Dcss) -> None:
    with on_terminal(up) as terminal:
        before = termios.tcgetattr(terminal.child_fd)[3]
        assert not before & termios.ICANON
        terminal.send("f")
        terminal.expect_exact("G*4")
        terminal.send("fn")
        terminal.expect_exact("guests by name")
        terminal.send("/oth")
        terminal.expect_exact("filter: oth_")
        terminal.send("\r")
        terminal.expect_exact("guests by name, filter oth")
        terminal.send("q")
        terminal.expect_exact(LEAVE)
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 0


def test_it_fills_the_window_after_a_resize(up: Dcss) -> None:
    with on_terminal(up) as terminal:
        terminal.setwinsize(60, 200)
        terminal.expect_exact("PROCESS")  # a wide screen has more columns
        terminal.expect_exact(KEYS)
        drawn = terminal.before or ""
        assert drawn.count("\n") > 50
        terminal.setwinsize(24, 80)
        terminal.expect_exact(KEYS)
        assert "PROCESS" not in (terminal.before or "")


def test_ctrl_z_puts_the_terminal_back_and_fg_takes_it_again(up: Dcss) -> None:
    environment = {**up.environment, "TERM": "xterm", "PYTHONUTF8": "1", "PS1": "shell> "}
    environment.pop("COLUMNS", None)
    words = ["--norc", "--noprofile", "--noediting", "-i"]  # a shell with job control
    shell = pexpect.spawn("bash", words, env=environment, dimensions=(24, 80), encoding="utf-8", timeout=SECONDS)
    try:
        shell.expect_exact("shell> ")
        shell.sendline(" ".join(up.command("top", up.system, "--interval", "3600")))
        shell.expect_exact(KEYS)
        shell.send("\x1a")
        shell.expect_exact(LEAVE)
        shell.expect_exact("Stopped")
        shell.expect_exact("shell> ")
        assert termios.tcgetattr(shell.child_fd)[3] & termios.ICANON
        shell.sendline("fg")
        shell.expect_exact(ENTER)
        shell.expect_exact(KEYS)
        assert not termios.tcgetattr(shell.child_fd)[3] & termios.ICANON
        shell.send("n")
        shell.expect_exact("guests by name")
        shell.send("q")
        shell.expect_exact(LEAVE)
        shell.expect_exact("shell> ")
    finally:
        shell.close(force=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_put_the_terminal_back(up: Dcss, number: signal.Signals) -> None:
    with on_terminal(up) as terminal:
        terminal.kill(number)
        terminal.expect_exact(LEAVE)
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 128 + number


def test_it_ends_with_its_cp_and_puts_the_terminal_back() -> None:
    with made_user() as dcss:
        dcss("up", dcss.guests(1), "-d")
        with on_terminal(dcss) as terminal:
            dcss("down")
            terminal.send("f")  # the next key shows it; otherwise the next look
            terminal.expect_exact(LEAVE)
            terminal.expect(r"its CP \(process \d+\) has ended")
            terminal.expect(pexpect.EOF)


def test_in_a_pipe_each_look_is_a_json_line(up: Dcss) -> None:
    lines = up("top", up.system, "--count", "2", "--interval", "0.1").stdout.splitlines()
    first, second = map(json.loads, lines)
    assert [guest["name"] for guest in first["guests"]] == ["G01", "G02", "G03", "G04", "OTHER"]
    assert all(guest["hypercalls_per_second"] is None for guest in first["guests"])
    assert all(guest["hypercalls_per_second"] == 0 for guest in second["guests"])
    assert [segment["guests"] for segment in second["segments"]] == [5]
    assert second["cp"]["pid"] == up.ps()["pid"]
    assert up("top", up.system, "--count", "1", "--json").stdout.count("\n") == 1


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_ended_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_a_look_at_a_hundred_guests_takes_a_quarter_of_one_ps_at_most() -> None:
    with made_user() as dcss:
        dcss("up", dcss.guests(100), "-d")
        before = cpu_seconds_of_ended_children()
        dcss("ps")
        most_seconds = (cpu_seconds_of_ended_children() - before) / 4  # a twentieth was seen
        command = ("top", dcss.system, "--json", "--count", "21")
        with dcss.start(*command, stdout=subprocess.PIPE) as top:
            assert top.stdout is not None
            top.stdout.readline()
            before = cpu_seconds(top.pid)
            lines = [top.stdout.readline() for _ in range(19)]
            used_seconds = cpu_seconds(top.pid) - before
            assert all(re.match(r'\{"system"', line) for line in lines)
            assert used_seconds / len(lines) < most_seconds
            top.kill()
        dcss("down")

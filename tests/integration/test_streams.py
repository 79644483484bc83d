"""Standard streams that are closed, full, or that nobody reads: one line or none, and never a lost result."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Dcss, made_user

SIGPIPE_STATUS = 141


@pytest.fixture(scope="module")
def system() -> Iterator[Dcss]:
    with made_user() as user:
        (user.home / "tree/large").write_bytes(b"some text\n" * 200_000)
        user("up", user.guests(1), "-d")
        user("image", "build", "tree", "-o", "tree.img")
        yield user


COMMANDS = [
    "ps",
    "ps --json",
    "verify",
    "verify --json",
    "measure",
    "logs G01",
    "logs --json",
    "exec G01 -- echo text",
    "exec --json G01 -- echo text",
    "cp --system SYSTEM q nss",
    "segment query --system SYSTEM",
    "image ls tree.img -R",
    "image cat tree.img /large",
    "image cat tree.img /large --json",
    "schema",
    "--help",
]


def command_of(user: Dcss, words: str) -> list[str]:
    return user.command(*words.replace("SYSTEM", user.system).split())


def shell(user: Dcss, words: str, redirection: str) -> "subprocess.CompletedProcess[str]":
    script = f'"$@" {redirection}'
    command = ["bash", "-c", script, "bash", *command_of(user, words)]
    return subprocess.run(
        command, cwd=user.home, env=user.environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_disk_is_one_line_that_names_stdout(system: Dcss, words: str) -> None:
    done = shell(system, words, "> /dev/full")
    assert (done.returncode, done.stderr) == (
        3,
        "dcss: stdout: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_closed_stdout_is_an_error(system: Dcss, words: str) -> None:
    done = shell(system, words, ">&-")
    assert (done.returncode, done.stderr) == (3, "dcss: stdout: the output cannot be written: Bad file descriptor\n")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_pipe_that_nobody_reads_ends_the_command_silently(system: Dcss, words: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        command_of(system, words),
        cwd=system.home,
        env=system.environment,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (SIGPIPE_STATUS, "")


def test_the_reader_of_a_long_output_goes(system: Dcss) -> None:
    done = shell(system, "exec G01 -- cat /large", "| head -n 1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stdout, done.stderr) == (SIGPIPE_STATUS, "some text\n", "")


@pytest.mark.parametrize("redirection", ["<&-", "2>&-", "2> /dev/full", "<&- 2>&-"])
def test_other_streams_may_be_closed_or_full(system: Dcss, redirection: str) -> None:
    done = shell(system, "exec G01 -- echo text", redirection)
    assert (done.returncode, done.stdout, done.stderr) == (0, "text\n", "")
    assert json.loads(shell(system, "ps --json", redirection).stdout)["systems"][0]["system"] == system.system
    assert shell(system, "exec NOBODY -- true", redirection).returncode == 2


def test_a_closed_stdin_is_an_error_where_commands_come_from_it(system: Dcss) -> None:
    done = shell(system, "cp", "<&-")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "dcss: stdin: Bad file descriptor\n")


def test_what_comes_on_stdin_may_be_any_bytes(system: Dcss, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 10)
    done = shell(system, "cp", f"< {tmp_path}/bytes")
    assert "Traceback" not in done.stderr
    assert done.returncode in {1, 2}

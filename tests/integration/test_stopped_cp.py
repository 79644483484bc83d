"""A CP that was stopped by a signal: every command says so, and what to do, and other systems are not held up."""

import os
import signal
from collections.abc import Iterator

import pytest
from cli_support import GUEST, MAP, Dcss, made_user
from wait_support import kill, stop


@pytest.fixture
def two(dcss: Dcss) -> Iterator[tuple[Dcss, str, int]]:
    """Give a user with two systems up: the second one's name, and its CP, which is stopped."""
    other = f"{dcss.system}x"
    dcss("up", dcss.guests(1), "-d")
    dcss("up", dcss.config(f"name: O, {GUEST}, {MAP}", name=other, path="other.yaml"), "-d")
    (form,) = dcss.json("ps", other)["systems"]
    stop(form["pid"])
    yield dcss, other, form["pid"]


def test_ps_shows_it_as_not_answering_beside_the_others(two: tuple[Dcss, str, int]) -> None:
    dcss, other, pid = two
    up, stopped = dcss.json("ps")["systems"]
    assert (up["system"], up["state"]) == (dcss.system, "up")
    assert (stopped["system"], stopped["state"], stopped["pid"]) == (other, "not answering", pid)
    assert f"{other}: not answering: its CP (process {pid}) was stopped" in dcss("ps").stdout
    os.kill(pid, signal.SIGCONT)
    assert [each["state"] for each in dcss.json("ps")["systems"]] == ["up", "up"]


@pytest.mark.slow
def test_down_takes_the_others_down_and_ends_with_an_error(two: tuple[Dcss, str, int]) -> None:
    dcss, other, pid = two
    done = dcss("down", "--all", status=3)
    assert done.stdout.startswith(f"{dcss.system}: down in")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"dcss: system {other}: its CP (process {pid}) was stopped by a signal")
    assert f"kill -CONT {pid} lets it go on; kill -9 {pid} ends it" in line
    assert f"dcss down {other} removes what it left" in line
    # Other tests run as the same user, and kill a CP whose shared memory is left: it is removed as well.
    (result,) = [each for each in dcss.json("down", "--all", status=3)["systems"] if each["system"] == other]
    assert "was stopped" in result["error"]
    kill(pid)
    dcss("down", other)
    dcss.assert_nothing_left()


@pytest.mark.parametrize(
    "words",
    [
        "verify SYSTEM",
        *(
            pytest.param(words, marks=pytest.mark.slow)  # each waits for some seconds
            for words in ("measure SYSTEM", "exec O --system SYSTEM -- true", "cp --system SYSTEM q nss")
        ),
    ],
)
def test_each_command_says_what_is_wrong(words: str) -> None:
    with made_user() as dcss:
        dcss("up", dcss.config(f"name: O, {GUEST}, {MAP}"), "-d")
        pid = dcss.ps()["pid"]
        stop(pid)
        done = dcss(*words.replace("SYSTEM", dcss.system).split(), status=3)
        assert done.stdout == ""
        assert done.stderr.startswith(f"dcss: system {dcss.system}: its CP (process {pid}) was stopped by a signal")
        os.kill(pid, signal.SIGCONT)
        dcss("down")


@pytest.mark.slow
def test_clients_that_left_do_not_fill_its_queue_for_ever(two: tuple[Dcss, str, int]) -> None:
    """Each command that gave up waits in the queue still: when it is full, commands say the same."""
    dcss, other, pid = two
    from dcss.rpc.address import connected

    kept = []
    with pytest.raises(BlockingIOError):
        while True:
            kept.append(connected(dcss.runtime / "dcss" / other))
    assert dcss.json("ps", other)["systems"][0]["state"] == "not answering"
    assert f"process {pid}" in dcss("down", other, status=3).stderr
    os.kill(pid, signal.SIGCONT)
    for sock in kept:
        sock.close()
    dcss("down", "--all")
    dcss.assert_nothing_left()

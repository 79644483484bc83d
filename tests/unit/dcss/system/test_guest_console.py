"""The host's end of a guest's console: kinds of packets, commands, books, and what no guest of ours sends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from system_support import guest as guest_plan

from dcss.abi.console import (
    CANCEL_REQUEST,
    COUNTERS,
    COUNTERS_REQUEST,
    EXIT_STATUS,
    PACKET_BYTES,
    STATUS,
    STDERR,
    STDOUT,
    VERDICT,
    Counters,
    Verdict,
    pack_exec,
    unpack_exec,
)
from dcss.errors import LaunchError
from dcss.system.instance import Guest

Heard = list[tuple[bytes, bytes]]


class Stage:
    """A guest whose other end of the console the test holds; its process is a sleeping one."""

    def __init__(self, tmp_path: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        port, self.their_port = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console, self.console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest = Guest(guest_plan("LINUX"), port, console, tmp_path / "log")
        self.guest.pid, self.guest.pidfd = self.process.pid, os.pidfd_open(self.process.pid)
        self.heard: Heard = []

    def says(self, *packets: bytes) -> None:
        for packet in packets:
            self.console.send(packet)
            assert self.guest.hear()

    def ready(self) -> None:
        self.says(VERDICT + Verdict(0, 0.5, 1, 2, 3).pack())

    def sink(self, kind: bytes, data: bytes) -> None:
        self.heard.append((kind, data))

    def close(self) -> None:
        self.guest.close()
        self.console.close()
        self.their_port.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_a_verdict_brings_books_and_an_answer_renews_them(stage: Stage) -> None:
    stage.ready()
    assert stage.guest.ready
    assert stage.guest.counters == Counters(1, 2, 3)
    stage.guest.request_counters()
    assert stage.console.recv(100) == COUNTERS_REQUEST
    stage.says(COUNTERS + Counters(4096, 0, 8192).pack())
    assert stage.guest.counters == Counters(4096, 0, 8192)
    assert stage.guest.verdict is not None
    assert stage.guest.verdict.page_cache_bytes == 1


def test_a_command_is_heard_from_its_first_byte_to_its_status(stage: Stage) -> None:
    stage.ready()
    stage.guest.start_exec(["cat", "/a b", "\udcff"], stage.sink)
    assert unpack_exec(stage.console.recv(100)) == [b"cat", b"/a b", b"\xff"]
    with pytest.raises(LaunchError, match="LINUX: a command is under way"):
        stage.guest.start_exec(["ls"], stage.sink)
    stage.says(STDOUT + b"x" * (PACKET_BYTES - 1), STDERR + b"oops", STATUS + EXIT_STATUS.pack(-3))
    assert stage.heard == [
        (b"O", b"x" * (PACKET_BYTES - 1)),
        (b"E", b"oops"),
        (b"X", EXIT_STATUS.pack(-3)),
    ]
    stage.guest.start_exec(["ls"], stage.sink)  # the next one may come now


def test_only_a_command_that_runs_is_cancelled(stage: Stage) -> None:
    stage.ready()
    stage.guest.cancel_exec()
    stage.guest.start_exec(["first"], stage.sink)
    stage.guest.cancel_exec()
    stage.says(STATUS + EXIT_STATUS.pack(130))
    stage.guest.cancel_exec()
    stage.guest.start_exec(["second"], stage.sink)
    heard = [stage.console.recv(100) for _ in range(3)]
    assert heard == [b"exec\0first", CANCEL_REQUEST, b"exec\0second"]


def test_a_sink_may_start_the_next_command(stage: Stage) -> None:
    stage.ready()

    def again(kind: bytes, data: bytes) -> None:
        if kind == STATUS:
            stage.guest.start_exec(["second"], stage.sink)

    stage.guest.start_exec(["first"], again)
    stage.says(STATUS + EXIT_STATUS.pack(0))
    assert [unpack_exec(stage.console.recv(100)) for _ in range(2)] == [[b"first"], [b"second"]]


@pytest.mark.parametrize(
    ("status", "words", "told"), [(-9, "ended by signal 9", 137), (70, "ended with status 70", 70)]
)
def test_a_guest_that_ends_first_ends_its_command(stage: Stage, status: int, words: str, told: int) -> None:
    stage.ready()
    stage.guest.start_exec(["cat"], stage.sink)
    stage.console.send(STDOUT + b"last words")
    stage.console.close()
    stage.guest.ended(status)
    assert stage.heard[0] == (b"O", b"last words")
    assert stage.heard[1][0] == b"E"
    assert words in stage.heard[1][1].decode()
    assert stage.heard[2:] == [(b"X", EXIT_STATUS.pack(told))]


def test_nothing_is_asked_of_a_guest_that_is_not_ready(stage: Stage) -> None:
    for ask in (stage.guest.request_counters, lambda: stage.guest.start_exec(["ls"], stage.sink)):
        with pytest.raises(LaunchError, match=r"LINUX: .* needs a guest that is ready"):
            ask()
    stage.ready()
    stage.guest.exit_status = -9
    with pytest.raises(LaunchError, match="it has ended"):
        stage.guest.request_counters()


@pytest.mark.parametrize("words", [[], ["a\0b"], ["x" * PACKET_BYTES]])
def test_a_command_that_no_packet_holds_is_refused(stage: Stage, words: list[str]) -> None:
    stage.ready()
    with pytest.raises(LaunchError, match="wanted at"):
        stage.guest.start_exec(words, stage.sink)
    stage.guest.start_exec(["ls"], stage.sink)


def test_a_guest_that_does_not_listen_is_an_error_and_not_a_wait(stage: Stage) -> None:
    stage.ready()
    with pytest.raises(LaunchError, match="its console takes nothing"):
        for _ in range(10_000):
            stage.guest.request_counters()


@pytest.mark.parametrize(
    "packet",
    [b"?", b"Vshort", b"Bshort", b"B" + bytes(25), b"Oasked for nothing", b"X\0\0\0\0", b"V" + bytes(36)],
)
def test_a_wrong_packet_ends_the_guest(stage: Stage, packet: bytes) -> None:
    stage.ready()
    stage.says(packet)
    assert stage.process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("packet", [b"X\0", b"X" + bytes(5), b"Z"])
def test_a_wrong_packet_during_a_command_ends_the_guest(stage: Stage, packet: bytes) -> None:
    stage.ready()
    stage.guest.start_exec(["ls"], stage.sink)
    stage.says(packet)
    assert stage.process.wait(10) == -signal.SIGKILL
    assert stage.heard == []


def test_packets_are_what_they_were() -> None:
    verdict = Verdict(1, 2.5, 3, 4, 5, "guest: a name \udcff")
    assert Verdict.unpack(verdict.pack())[:5] == verdict[:5]
    assert len(Verdict(1, 0.0, 0, 0, 0, "x" * 100_000).pack()) < PACKET_BYTES
    assert Counters.unpack(Counters(1, 2, 3).pack()) == Counters(1, 2, 3)
    assert unpack_exec(pack_exec([b"echo", b"", b"b"])) == [b"echo", b"", b"b"]

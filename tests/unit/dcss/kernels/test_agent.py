"""The agent of Linux guests, built for this machine, spoken to over a terminal in place of a virtio port."""

import hashlib
import os
import platform
import pty
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcss.abi import console, programs
from dcss.abi.console import Counters, FileAccess, Start, Verdict
from dcss.abi.programs import ProgramPacket, ProgramRequest, TerminalSize, head_of

GUEST = Path(__file__).parents[4] / "dcss/kernels/guest"
AGENT = GUEST / f"agent-{platform.machine()}"
pytestmark = pytest.mark.skipif(not AGENT.exists(), reason=f"there is no agent for {platform.machine()}")


class Agent:
    """The host's end of the port, and what each program has written there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._waiting: list[ProgramPacket] = []

    def packet(self) -> bytes:
        return self._read(int.from_bytes(self._read(4), "big"))

    def send(self, packet: bytes) -> None:
        os.write(self.port, len(packet).to_bytes(4, "big") + packet)

    def tell(self, kind: bytes, number: int, data: bytes = b"") -> None:
        self.send(head_of(kind, number) + data)

    def begin(self, *words: bytes, number: int = 1, **more: Any) -> None:
        self.tell(programs.RUN, number, ProgramRequest(words, **more).pack())

    def next_about(self, number: int = 1) -> ProgramPacket:
        """Return the next packet about a program; what is about others waits."""
        for index, packet in enumerate(self._waiting):
            if packet.number == number:
                return self._waiting.pop(index)
        while (packet := ProgramPacket.unpack(self.packet())).number != number:
            self._waiting.append(packet)
        return packet

    def output_until(self, wanted: bytes, number: int = 1) -> bytes:
        """Return what a program writes until `wanted` is in it."""
        written = b""
        while wanted not in written:
            packet = self.next_about(number)
            assert packet.kind in {programs.OUTPUT, programs.INPUT_TAKEN}, packet
            written += packet.data if packet.kind == programs.OUTPUT else b""
        return written

    def end(self, number: int = 1) -> tuple[bytes, bytes, int]:
        """Return what a program writes, taken as it comes, and how it ends."""
        written = {programs.OUTPUT: b"", programs.ERRORS: b"", programs.INPUT_TAKEN: b""}
        while (packet := self.next_about(number)).kind != programs.EXIT:
            written[packet.kind] += packet.data
            if packet.kind != programs.INPUT_TAKEN:
                self.tell(programs.OUTPUT_TAKEN, number, programs.COUNT.pack(len(packet.data)))
        return written[programs.OUTPUT], written[programs.ERRORS], programs.STATUS.unpack(packet.data)[0]

    def run(self, *words: bytes, **more: Any) -> tuple[bytes, bytes, int]:
        self.begin(*words, **more)
        return self.end()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += os.read(self.port, size - len(data))
        return data


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    access = tmp_path / "access"
    access.write_bytes(b"dcssblk0\0/mnt\0dax\0dax\0")
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    words = [str(AGENT), "serve", os.ttyname(theirs), "/", str(access), "3", "it failed"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        yield Agent(ours)
        process.kill()
    os.close(ours)
    os.close(theirs)


def test_it_says_how_the_guest_started_and_how_its_list_ended(agent: Agent) -> None:
    start, access, verdict = (agent.packet() for _ in range(3))
    assert (start[:1], Start.unpack(start[1:])) == (console.START, Start(cloned=False))
    assert access[:1] == console.ACCESS
    assert console.unpack_access(access[1:]) == (FileAccess("dcssblk0", "/mnt", "dax", "dax"),)
    found = Verdict.unpack(verdict[1:])
    assert (verdict[:1], found.exit_status, found.message) == (console.VERDICT, 3, "it failed")
    assert 0 < found.seconds < 1e9
    assert found.page_cache_bytes > 0
    assert found.anonymous_bytes > 0


@pytest.fixture
def ready(agent: Agent) -> Agent:
    for _ in range(3):
        agent.packet()
    return agent


def test_it_runs_programs_and_counts(ready: Agent) -> None:
    assert ready.run(b"sh", b"-c", b"echo out; echo err >&2; exit 7") == (b"out\n", b"err\n", 7)
    assert ready.run(b"sh", b"-c", b"kill -TERM $$")[2] == 128 + 15
    assert ready.run(b"nosuch") == (b"", b"nosuch: not found\n", 127)
    assert ready.run(b"/etc/passwd")[2] == 126
    assert len(ready.run(b"head", b"-c", b"2000000", b"/dev/zero")[0]) == 2_000_000
    ready.send(console.COUNTERS_REQUEST)
    packet = ready.packet()
    assert packet[:1] == console.COUNTERS
    counted = Counters.unpack(packet[1:])
    assert counted.anonymous_bytes > 0
    assert counted.in_place_bytes == (None if os.getuid() else 0)  # this machine has no segments; a user sees no frames


def test_a_program_has_the_directory_and_the_variables_that_are_asked_for(ready: Agent) -> None:
    told = ready.run(
        b"sh", b"-c", b"pwd; echo $A $TERM $HOME", directory=b"/proc", environment=(b"A=x y", b"TERM=dumb")
    )
    assert told == (b"/proc\nx y dumb /\n", b"", 0)
    assert ready.run(b"pwd", directory=b"/nosuch") == (b"", b"cannot enter /nosuch\n", 126)


def test_output_that_nobody_takes_has_the_program_wait_and_others_run(ready: Agent) -> None:
    ready.begin(b"sh", b"-c", b"head -c 1000000 /dev/zero; echo end", number=1)
    ready.begin(b"echo", b"other", number=2)
    assert ready.end(2) == (b"other\n", b"", 0)
    taken = 0
    while taken < programs.WINDOW_BYTES:
        taken += len(ready.next_about(1).data)
    assert taken == programs.WINDOW_BYTES
    ready.tell(programs.OUTPUT_TAKEN, 1, programs.COUNT.pack(taken))
    written, _, status = ready.end(1)
    assert (taken + len(written), status) == (1_000_004, 0)


def test_input_reaches_a_program_piece_by_piece_and_ends(ready: Agent) -> None:
    ready.begin(b"md5sum", has_input=True)
    content = bytes(range(256)) * 700  # more than a pipe holds
    for piece in programs.pieces(content):
        ready.tell(programs.INPUT, 1, piece)
    ready.tell(programs.INPUT_END, 1)
    assert ready.end()[0].split()[0] == hashlib.md5(content).hexdigest().encode()
    assert ready.run(b"cat") == (b"", b"", 0)  # without input, it is /dev/null


def test_what_a_program_never_reads_is_taken_all_the_same(ready: Agent) -> None:
    ready.begin(b"sh", b"-c", b"exec <&-; sleep 1000", has_input=True)
    ready.tell(programs.INPUT, 1, bytes(1000))
    taken = 0
    while taken < 1000:
        packet = ready.next_about()
        assert packet.kind == programs.INPUT_TAKEN
        taken += programs.COUNT.unpack(packet.data)[0]
    ready.tell(programs.CANCEL, 1)
    assert ready.end()[2] == 128 + 9


def test_a_program_on_a_terminal_gets_its_keys_and_its_sizes(ready: Agent) -> None:
    loop = b"while :; do read line && echo got $line; done"
    script = b"trap 'echo size $(stty size)' WINCH; tty >/dev/null && stty size; " + loop
    ready.begin(b"sh", b"-c", script, has_input=True, terminal=TerminalSize(24, 80))
    ready.output_until(b"24 80\r\n")
    ready.tell(programs.INPUT, 1, b"hello\n")
    ready.output_until(b"got hello\r\n")
    ready.tell(programs.RESIZE, 1, programs.SIZE.pack(50, 132))
    ready.tell(programs.INPUT, 1, b"again\n")
    assert b"size 50 132\r\n" in ready.output_until(b"got again\r\n")
    ready.tell(programs.INPUT, 1, b"\x03")  # Ctrl-C
    assert ready.end()[2] == 128 + 2


def test_a_terminal_s_last_words_are_not_lost(ready: Agent) -> None:
    for _ in range(20):
        written, _, status = ready.run(b"sh", b"-c", b"echo one; echo two", terminal=TerminalSize(24, 80))
        assert (written, status) == (b"one\r\ntwo\r\n", 0)


def test_a_signal_and_a_cancel_reach_the_whole_group(ready: Agent) -> None:
    ready.begin(b"sh", b"-c", b"trap 'echo caught; exit 5' USR1; echo begun; while :; do :; done", number=1)
    ready.output_until(b"begun\n", 1)
    ready.tell(programs.SIGNAL, 1, programs.STATUS.pack(10))
    assert ready.end(1) == (b"caught\n", b"", 5)
    ready.begin(b"sh", b"-c", b"echo begun; sleep 1000", number=2)
    ready.output_until(b"begun\n", 2)
    ready.tell(programs.CANCEL, 2)
    assert ready.end(2)[2] == 128 + 9
    for _ in range(20):  # it may not have begun
        ready.begin(b"sleep", b"1000", number=3)
        ready.tell(programs.CANCEL, 3)
        assert ready.end(3)[2] == 128 + 9


def test_a_program_ends_though_what_it_left_keeps_its_output(ready: Agent) -> None:
    written, _, status = ready.run(b"sh", b"-c", b"sleep 1000 & echo $!")
    os.kill(int(written), 9)
    assert status == 0


def test_it_maps_each_file_once_and_leaves_a_process_that_keeps_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"x" * 5000)
    (tmp_path / "link").hardlink_to(tmp_path / "one")
    names = b"".join(os.fsencode(tmp_path / name) + b"\0" for name in ("one", "two", "link"))
    assert subprocess.run([AGENT, "map"], input=names, check=False).returncode == 0
    keepers = [path for path in Path("/proc").glob("[0-9]*/maps") if _maps(path, tmp_path)]
    (keeper,) = keepers
    try:
        assert sum(os.fsencode(tmp_path) in line for line in keeper.read_bytes().splitlines()) == 2
    finally:
        os.kill(int(keeper.parent.name), 9)


def test_files_that_are_not_there_fail_it(tmp_path: Path) -> None:
    told = subprocess.run([AGENT, "map"], input=os.fsencode(tmp_path / "no") + b"\0", capture_output=True, check=False)
    assert told.returncode == 1
    assert b"matches no regular file" in told.stderr


def _maps(path: Path, directory: Path) -> bool:
    try:
        return os.fsencode(directory) in path.read_bytes()
    except OSError:
        return False

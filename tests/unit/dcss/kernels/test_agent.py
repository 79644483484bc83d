"""The agent of Linux guests, built for this machine, spoken to over a terminal in place of a virtio port."""

import os
import platform
import pty
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dcss.abi import console
from dcss.abi.console import Counters, FileAccess, Start, Verdict

GUEST = Path(__file__).parents[4] / "dcss/kernels/guest"
AGENT = GUEST / f"agent-{platform.machine()}"
pytestmark = pytest.mark.skipif(not AGENT.exists(), reason=f"there is no agent for {platform.machine()}")


class Agent(NamedTuple):
    """The host's end of the port."""

    port: int

    def packet(self) -> bytes:
        return self._read(int.from_bytes(self._read(4), "big"))

    def send(self, packet: bytes) -> None:
        os.write(self.port, len(packet).to_bytes(4, "big") + packet)

    def run(self, *words: bytes) -> tuple[bytes, bytes, int]:
        self.send(console.pack_exec(words))
        written = {console.STDOUT: b"", console.STDERR: b""}
        while (packet := self.packet())[:1] != console.STATUS:
            written[packet[:1]] += packet[1:]
        return written[console.STDOUT], written[console.STDERR], console.EXIT_STATUS.unpack(packet[1:])[0]

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


def test_it_runs_commands_and_counts(agent: Agent) -> None:
    for _ in range(3):
        agent.packet()
    assert agent.run(b"sh", b"-c", b"echo out; echo err >&2; exit 7") == (b"out\n", b"err\n", 7)
    assert agent.run(b"sh", b"-c", b"kill -TERM $$")[2] == 128 + 15
    assert agent.run(b"nosuch") == (b"", b"nosuch: not found\n", 127)
    assert agent.run(b"/etc/passwd")[2] == 126
    assert len(agent.run(b"head", b"-c", b"200000", b"/dev/zero")[0]) == 200_000
    agent.send(console.COUNTERS_REQUEST)
    packet = agent.packet()
    assert packet[:1] == console.COUNTERS
    assert Counters.unpack(packet[1:]).anonymous_bytes > 0


def test_a_command_is_cancelled(agent: Agent) -> None:
    for _ in range(3):
        agent.packet()
    agent.send(console.pack_exec([b"sh", b"-c", b"echo begun; sleep 1000"]))
    assert agent.packet() == console.STDOUT + b"begun\n"
    agent.send(console.CANCEL_REQUEST)
    assert agent.packet() == console.STATUS + console.EXIT_STATUS.pack(128 + 9)


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

"""Commands in real guests: as steps, over the console, and without a trace that the proof would find."""

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from claim_support import NO_COPIES, assert_only_false, assert_verified
from needs_support import needs
from system_support import COPIED, RunningSystem, guest, system_plan, wait_gone
from tree_support import make_tree, mke2fs

from dcss.config.plan import GuestPlan, Step
from dcss.errors import LaunchError
from dcss.results import VerifyResult

pytestmark = needs("mke2fs")
MAP_ALL = ("map", "/usr/lib/**/*.so*")
LIBRARIES = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Return an image with libraries of random content beside the small tree, and that content by path."""
    place = tmp_path_factory.mktemp("exec")
    make_tree(place / "tree")
    dice = random.Random(7)
    contents = {f"/usr/lib/lib{i}.so": dice.randbytes(dice.randrange(1, 300_000)) for i in range(LIBRARIES)}
    contents |= {f"/etc/text{i}": (f"{dice.random()} line\n" * dice.randrange(1, 300)).encode() for i in range(5)}
    for path, content in contents.items():
        (place / f"tree{path}").write_bytes(content)
    mke2fs(place / "tree", place / "image")
    return place / "image", contents


@pytest.fixture(autouse=True)
def private_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[Path, dict[str, bytes]]) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "image").symlink_to(made[0])


class Running:
    """A system whose guests are ready, and commands in them."""

    def __init__(self, system: RunningSystem) -> None:
        self.system = system

    def run(self, name: str, *words: str) -> tuple[int, bytes, bytes]:
        """Run one command to its end; return its status and what it wrote."""
        return self.system.run(self.exec(name, *words))

    async def exec(self, name: str, *words: str) -> tuple[int, bytes, bytes]:
        out, err = bytearray(), bytearray()

        async def take(is_error: bool, data: bytes) -> None:
            (err if is_error else out).extend(data)

        status = await self.system.guests[name].exec(words, take)
        return status, bytes(out), bytes(err)

    def verify(self) -> VerifyResult:
        return self.system.run(self.system.system.prover.verify())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    plan = system_plan(tmp_path, guest("A", MAP_ALL), guest("B", MAP_ALL), guest("C", MAP_ALL, options=COPIED))
    with RunningSystem(plan) as system:
        system.bring_up()
        yield Running(system)


def test_digests_in_guests_are_hashlibs(running: Running, made: tuple[Path, dict[str, bytes]]) -> None:
    wanted = {path: hashlib.sha256(content).hexdigest() for path, content in made[1].items()}
    for name in ("A", "C"):
        status, out, err = running.run(name, "sha256sum", *wanted)
        assert (status, err) == (0, b"")
        found = (line.split("  ") for line in out.decode().splitlines())
        assert {path: digest for digest, path in found} == wanted


def test_files_cross_the_console_whole(running: Running, made: tuple[Path, dict[str, bytes]]) -> None:
    paths = sorted(made[1])
    status, out, err = running.run("A", "cat", *paths, "/nosuch")
    assert (status, err) == (1, b"cat: /nosuch: No such file or directory\n")
    assert out == b"".join(made[1][path] for path in paths)


def test_each_command_has_a_shell_of_its_own_and_files_stay(running: Running) -> None:
    assert running.run("A", "sh", "-c", "cd /tmp; echo here > x; pwd") == (0, b"/tmp\n", b"")
    assert running.run("A", "pwd") == (0, b"/\n", b"")
    assert running.run("A", "cat", "/tmp/x", ">", "/tmp/y") == (0, b"", b"")
    assert running.run("A", "cat", "/tmp/y") == (0, b"here\n", b"")
    assert running.run("B", "cat", "/tmp/x")[0] == 1  # another guest has storage of its own
    assert running.run("A", "frob")[0] == 127
    assert running.run("A", "/usr/lib/lib0.so")[0] == 126
    assert running.run("A", "hostname") == (0, b"A\n", b"")
    assert running.run("A", "cat", "/proc/cmdline") == (0, b"dcssblk.segments=LIB\n", b"")


def test_commands_in_several_guests_go_on_at_once(running: Running, made: tuple[Path, dict[str, bytes]]) -> None:
    command = ["cat", *sorted(made[1])]

    async def run_all() -> list[tuple[int, bytes, bytes]]:
        tasks = [asyncio.ensure_future(running.exec(name, *command)) for name in "ABC"]
        await asyncio.sleep(0)
        for name in "ABC":
            with pytest.raises(LaunchError, match="a command is under way"):
                await running.exec(name, "ls")
        return await asyncio.gather(*tasks)

    content = b"".join(made[1][path] for path in sorted(made[1]))
    assert running.system.run(run_all()) == [(0, content, b"")] * 3


def test_a_guest_that_is_killed_during_a_command_ends_it(running: Running) -> None:
    async def kill_during() -> tuple[int, bytes, bytes]:
        # Stopped, so that it is certain to be in the command when it is killed.
        os.kill(running.system.pid_of("A"), signal.SIGSTOP)
        command = asyncio.ensure_future(running.exec("A", "find", "/"))
        await asyncio.sleep(0)
        running.system.guests["A"].kill()
        return await command

    status, _, err = running.system.run(kill_during())
    assert status == 128 + signal.SIGKILL
    assert b"SIGKILL" in err or b"signal 9" in err
    assert running.run("B", "true") == (0, b"", b"")


def test_counters_follow_what_commands_instantiate(running: Running, made: tuple[Path, dict[str, bytes]]) -> None:
    def counters(name: str) -> int:
        system = running.system
        system.run(system.guests[name].refresh_counters())
        account = next(g for g in system.run(system.system.prover.measure()).guests if g.name == name)
        assert account.guest.page_cache_bytes is not None
        return account.guest.page_cache_bytes

    assert counters("A") == 0
    running.run("A", "cp", "/usr/lib/lib0.so", "/tmp")
    assert counters("A") == -(-len(made[1]["/usr/lib/lib0.so"]) // 4096) * 4096
    running.run("A", "rm", "/tmp/lib0.so")
    assert counters("A") == 0


@needs("frames")
def test_looking_around_leaves_no_copy_that_the_proof_finds(
    running: Running, made: tuple[Path, dict[str, bytes]]
) -> None:
    paths = sorted(made[1])
    for command in (
        ("cat", *paths),
        ("sha256sum", *paths),
        ("md5sum", *paths),
        ("wc", *paths),
        ("head", "-n", "50", *paths),
        ("head", "-c", "9000", *paths),
        ("hexdump", "-C", paths[-1]),
        ("ls", "-laR", "/"),
        ("find", "/", "-name", "lib*"),
        ("stat", *paths),
        ("sh", "-c", "mount; df; free; dmesg; cat /proc/*"),
    ):
        status, _, err = running.run("A", *command)
        assert (status, err) == (0, b""), command
    assert_verified(running.verify())


@needs("frames")
def test_a_copy_that_a_command_makes_is_one(running: Running) -> None:
    assert running.run("B", "cp", "/usr/lib/lib1.so", "/tmp")[0] == 0
    reason = assert_only_false(running.verify(), NO_COPIES)
    assert "guest B (kernel)" in reason
    assert "/usr/lib/lib1.so" in reason
    assert running.run("B", "rm", "/tmp/lib1.so")[0] == 0
    assert_verified(running.verify())


def steps(name: str, *commands: tuple[str, ...]) -> GuestPlan:
    return guest(name, run=tuple(Step("exec", command) for command in commands))


def test_steps_run_in_turn_and_their_output_is_the_log(tmp_path: Path) -> None:
    plan = system_plan(
        tmp_path,
        steps("GOOD", ("echo", "to a file", ">", "/tmp/x"), ("sh", "-c", "cat /tmp/x && wc -l /tmp/*"), ("ls", "/usr")),
        steps("BAD", ("echo", "first"), ("cat", "/nosuch file"), ("echo", "never")),
        steps("WRONG", ("sh", "-c", "echo a | cat")),
    )
    with RunningSystem(plan) as system:
        system.bring_up()
        good, bad, wrong = (system.guests[name] for name in ("GOOD", "BAD", "WRONG"))
        assert good.ready
        assert "to a file\n1 /tmp/x\nlib\n" in good.log_path.read_text()
        assert good.counters is not None
        assert good.counters.page_cache_bytes == 4096
        outcome = bad.outcome()
        assert outcome.exit_status == 1
        assert outcome.log.splitlines()[-3:] == [
            "first",
            "cat: /nosuch file: No such file or directory",
            "BAD: run[1]: exec cat '/nosuch file': exit status 1",
        ]
        assert "pipes are not supported" in wrong.outcome().log
        pids = [pid for guest in (good, bad, wrong) for pid in guest.pids]
    wait_gone(*pids)

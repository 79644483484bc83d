"""A fork server that is begun before CP is imported: an engine takes it, or it ends."""

import asyncio
import errno
import os
import subprocess
from pathlib import Path

import pytest
from system_support import wait_gone

from dcss.engines.forked.server_process import ServerProcess, servers_begun
from dcss.engines.process.engine import ProcessEngine
from dcss.errors import LaunchError
from dcss.host.mark import Mark


def test_an_engine_takes_the_server_that_was_begun_for_its_system(tmp_path: Path) -> None:
    async def pids() -> tuple[int, ...]:
        engine = ProcessEngine()
        with (tmp_path / "log").open("wb") as log:
            await engine.start(log.fileno(), Mark.of_this_process("demo"))
            try:
                return engine.pids
            finally:
                await engine.close()

    before = set(_children())
    with servers_begun("demo", ["process"]):
        (begun,) = set(_children()) - before
        assert asyncio.run(pids()) == (begun,)
        assert begun != asyncio.run(pids())[0], "another engine, another server"
    assert set(_children()) == before


def test_a_server_that_no_engine_takes_ends_with_the_block() -> None:
    before = set(_children())
    with servers_begun("demo", ["process"]):
        server = ServerProcess.of(ProcessEngine.server_module, Mark.of_this_process("other"))
        server.abandon()
        (begun,) = set(_children()) - before - {server.process.pid}
        os.kill(begun, 0)
    wait_gone(begun)
    left = ServerProcess.of(ProcessEngine.server_module, Mark.of_this_process("demo"))
    left.abandon()
    assert left.process.pid != begun


def test_a_server_whose_cp_has_gone_before_it_says_hello_ends_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = ServerProcess(ProcessEngine.server_module, Mark.of_this_process("demo"))
    server.control.close()
    assert server.process.wait() == 0
    assert capfd.readouterr() == ("", "")


def test_none_is_begun_for_engines_that_have_none() -> None:
    before = _children()
    with servers_begun("demo", ["linux"]):
        assert _children() == before


def test_a_machine_without_room_for_a_process_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(LaunchError, match=r"^the fork server cannot be started: fork: .*\(ulimit -u, "):
        ServerProcess(ProcessEngine.server_module, Mark.of_this_process("demo"))


def _children() -> list[int]:
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]

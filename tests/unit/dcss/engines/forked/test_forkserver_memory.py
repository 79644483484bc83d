"""The fork server leaves nothing of what it read in its memory, for guests to inherit."""

import asyncio
from pathlib import Path

from dcss.engines.forked.forkclient import ForkServer
from dcss.engines.forked.server_process import ServerProcess
from dcss.engines.process.engine import ProcessEngine
from dcss.host.libc import OVERWRITE_FREED_MEMORY
from dcss.host.mark import Mark


def test_a_fork_server_overwrites_what_it_frees(tmp_path: Path) -> None:
    async def environment() -> list[bytes]:
        with (tmp_path / "log").open("wb") as log:
            server = ForkServer(ServerProcess(ProcessEngine.server_module, Mark.of_this_process("none")), log.fileno())
            try:
                await server.reservation()
                return Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
            finally:
                await server.close()

    ((name, value),) = OVERWRITE_FREED_MEMORY.items()
    assert f"{name}={value}".encode() in asyncio.run(environment())

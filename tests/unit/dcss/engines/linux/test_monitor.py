"""QEMU's monitor, spoken to by QMP."""

import asyncio
import json
import socket

import pytest
from loop_support import in_event_loop

from dcss.engines.linux.ended import MachineEndedError
from dcss.engines.linux.monitor import Monitor
from dcss.errors import LaunchError

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}


async def serve(sock: socket.socket, answers: list[dict[str, object]]) -> None:
    """Greet, answer one command after another, and end at the next."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    writer.write(json.dumps(GREETING).encode() + b"\n")
    agreed: dict[str, object] = {"return": {}}
    for answer in [agreed, *answers]:
        command = json.loads(await reader.read(1 << 16))  # which ends with no newline
        same: dict[str, object] = {key: command[key] for key in command if key == "id"}
        writer.write(json.dumps(answer | same).encode() + b"\n")
    await reader.read(1 << 16)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("answers", "wanted", "said"),
    [
        ([{"return": "HVA is 0x10\r\n"}], LaunchError, "found 'HVA is 0x10', wanted an address"),
        (
            [{"error": {"class": "GenericError", "desc": "No file descriptor"}}],
            LaunchError,
            "human-monitor-command: No file descriptor",
        ),
        ([], MachineEndedError, None),
    ],
)
@in_event_loop
async def test_what_qemu_refuses_is_told_from_its_end(
    answers: list[dict[str, object]], wanted: type[Exception], said: str | None
) -> None:
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(serve(theirs, answers))
    monitor = await Monitor.connect("L", ours)
    with pytest.raises(wanted, match=said):
        await monitor.real_address(0)
    await monitor.close()
    await serving

"""What a client of `exec` sends while its program runs: lines, windows, and what CP does not take."""

import asyncio
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from loop_support import LIMIT_SECONDS, in_event_loop

from dcss.abi.programs import INPUT, INPUT_END, RESIZE, SIGNAL, SIZE, STATUS, WINDOW_BYTES, ProgramEvent
from dcss.errors import ConfigError
from dcss.host.paths import runtime_directory
from dcss.rpc.client import Client
from dcss.rpc.connection import ClientConnection
from dcss.rpc.program_input import ProgramInput
from dcss.rpc.protocol import Arguments, ControlRequest, Output, event_line, read_event
from dcss.rpc.server import ControlServer

EVENTS = [
    ProgramEvent(INPUT, b"\0\xff\n"),
    ProgramEvent(INPUT_END),
    ProgramEvent(RESIZE, SIZE.pack(24, 80)),
    ProgramEvent(SIGNAL, STATUS.pack(15)),
]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_read_as_it_was_written(event: ProgramEvent) -> None:
    assert read_event(event_line(event)) == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"input": 1}',
        b'{"input": "?"}',
        b'{"input": "", "signal": 1}',
        b'{"window": [1]}',
        b'{"window": [1, 70000]}',
        b'{"window": [1, "x"]}',
        b'{"signal": 0}',
        b'{"signal": 65}',
        b'{"signal": "x"}',
        b'{"else": 1}',
        b"[" * 100_000,
    ],
)
def test_what_says_nothing_to_a_program_is_refused(line: bytes) -> None:
    with pytest.raises(ConfigError, match="wanted one of input, window, signal and gdb"):
        read_event(line)


class Served:
    """A control server whose one handler gives the client back what it says, until the end of input."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.heard: list[ProgramEvent] = []
        handlers = {"exec": self.echo, "listen": self.listen, "deaf": self.deaf}
        self.server = ControlServer(directory, handlers, self._fault)

    async def echo(self, client: ClientConnection, _: Arguments) -> Arguments:
        client.accept_events()
        while (event := await client.next_event()).kind != INPUT_END:
            self.heard.append(event)
            if event.kind == INPUT:
                await client.send_output(Output("stdout", event.data))
                await client.send_taken(len(event.data))
        return {"exit_status": 7}

    async def listen(self, client: ClientConnection, _: Arguments) -> Arguments:
        client.accept_events()
        while True:
            await client.next_event()

    async def deaf(self, client: ClientConnection, _: Arguments) -> Arguments:
        client.accept_events()
        await asyncio.get_running_loop().create_future()
        return {}

    def _fault(self, text: str) -> None:
        raise AssertionError(text)

    async def say(self, name: str, *lines: bytes) -> list[object]:
        """Send a request and lines behind it, in one go; return the answer's lines."""
        loop, received = asyncio.get_running_loop(), b""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, str(self.directory / "control"))
            # CP may answer, and close, before it has read all that is sent.
            sending = asyncio.create_task(loop.sock_sendall(sock, ControlRequest(name, {}).pack() + b"".join(lines)))
            with suppress(ConnectionResetError):
                while part := await loop.sock_recv(sock, 1 << 20):
                    received += part
            await asyncio.gather(sending, return_exceptions=True)
        return [json.loads(line) for line in received.splitlines()]


@in_event_loop
async def test_events_arrive_in_order_also_those_sent_with_the_request(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.server.start()
    lines = [event_line(event) for event in (*(e for e in EVENTS if e.kind != INPUT_END), EVENTS[1])]
    answer = await served.say("exec", *lines)
    assert served.heard == [event for event in EVENTS if event.kind != INPUT_END]
    assert answer == [
        {"output": "stdout", "data": "AP8K"},
        {"taken": 3},
        {"result": {"exit_status": 7}},
    ]
    await served.server.close()


@in_event_loop
async def test_a_client_that_says_nonsense_or_too_much_has_its_request_ended(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.server.start()
    ((error),) = await served.say("exec", b"nonsense\n", event_line(EVENTS[0]))
    assert "wanted one of input" in str(error)
    piece = event_line(ProgramEvent(INPUT, b"x" * 60_000))
    ((error),) = await served.say("listen", *[piece] * (WINDOW_BYTES // 60_000 + 1))
    assert f"found more than {WINDOW_BYTES} bytes of input" in str(error)
    await served.server.close()


@in_event_loop
async def test_a_handler_that_reads_no_events_is_cancelled_when_its_client_goes(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.server.start()
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "control"))
    writer.write(ControlRequest("deaf", {}).pack() + event_line(EVENTS[0]) * 1000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    while served.server._clients:  # its task ends by itself
        await asyncio.wait(served.server._clients)
    await served.server.close()


def test_a_client_passes_on_more_than_a_window_of_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    content = os.urandom(3 * WINDOW_BYTES + 1)
    output = bytearray()

    def client(descriptor: int) -> Arguments:
        with Client("echo") as asking:
            return asking.ask("exec", on_output=lambda each: output.extend(each.data), speaker=ProgramInput(descriptor))

    async def main() -> Arguments:
        directory = runtime_directory() / "echo"
        directory.mkdir(mode=0o700)
        served = Served(directory)
        served.server.start()
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        with ours, theirs, ThreadPoolExecutor() as threads:
            ours.setblocking(False)
            answer = loop.run_in_executor(threads, client, theirs.fileno())
            async with asyncio.timeout(LIMIT_SECONDS):
                sending = asyncio.create_task(loop.sock_sendall(ours, content))
                sending.add_done_callback(lambda _: ours.shutdown(socket.SHUT_WR))
                result = await answer
        await served.server.close()
        return result

    assert asyncio.run(main()) == {"exit_status": 7}
    assert output == content


def test_no_more_is_read_than_the_program_takes() -> None:
    read_end, write_end = os.pipe()
    try:
        speaker = ProgramInput(read_end)
        os.write(write_end, b"x" * 40_000)
        speaker._room_bytes = 10
        assert list(speaker.descriptors()) == [read_end]
        assert read_event(speaker.read(read_end)) == ProgramEvent(INPUT, b"x" * 10)
        assert speaker.descriptors() == []
        speaker.taken(4)
        assert read_event(speaker.read(read_end)) == ProgramEvent(INPUT, b"x" * 4)
    finally:
        os.close(read_end)
        os.close(write_end)

"""The control socket: answers, and clients that are slow, silent, loud, gone or too many."""

import asyncio
import errno
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from cli_support import NOBODY, others_python

from dcss.errors import ConfigError, KernelError
from dcss.rpc import connection as connection_module
from dcss.rpc import server as server_module
from dcss.rpc.address import peer_of, socket_path
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import MAX_REQUEST_BYTES, Arguments, ControlRequest, Output
from dcss.rpc.server import MAX_CLIENTS, ControlServer

LIMIT_SECONDS = 60.0  # of a whole test: what takes longer hangs
PIECE = Output("stdout", bytes(60_000))


class Client:
    """A client that never blocks the test's loop."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self, size_bytes: int = 1 << 20) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.sock, size_bytes)

    async def read_to_end(self) -> bytes:
        received = b""
        while part := await self.receive():
            received += part
        return received

    def close(self) -> None:
        self.sock.close()


class Served:
    """A server and its handlers; `run` serves while a scenario lasts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.faults: list[str] = []
        self.waiting: list[ClientConnection] = []
        self.cancelled: list[ClientConnection] = []
        self.sent_pieces = 0
        self.proceed = asyncio.Event()
        self.server = ControlServer(
            directory,
            {
                "echo": self.echo,
                "wait": self.wait,
                "stream": self.stream,
                "wrong": self.wrong,
                "fault": self.fault,
                "lost": self.lost,
                "kernel": self.kernel,
                "large": self.large,
            },
            self.faults.append,
        )

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        async def serve() -> None:
            self.server.start()
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    await scenario
            finally:
                await self.server.close()

        asyncio.run(serve())

    async def echo(self, _: ClientConnection, arguments: Arguments) -> Arguments:
        return arguments

    async def wait(self, client: ClientConnection, _: Arguments) -> Arguments:
        self.waiting.append(client)
        try:
            await self.proceed.wait()
        except asyncio.CancelledError:
            self.cancelled.append(client)
            raise
        return {}

    async def stream(self, client: ClientConnection, arguments: Arguments) -> Arguments:
        self.waiting.append(client)
        try:
            for _ in range(arguments["pieces"]):
                await client.send_output(PIECE)
                self.sent_pieces += 1
        except asyncio.CancelledError:
            self.cancelled.append(client)
            raise
        return {"done": True}

    async def wrong(self, _: ClientConnection, __: Arguments) -> Arguments:
        raise ConfigError("one", "two")

    async def fault(self, _: ClientConnection, __: Arguments) -> Arguments:
        return {"never": 1 / 0}

    async def lost(self, _: ClientConnection, __: Arguments) -> Arguments:
        raise OSError(28, "No space left on device")

    async def kernel(self, _: ClientConnection, __: Arguments) -> Arguments:
        raise KernelError(5, "Input/output error")

    async def large(self, _: ClientConnection, arguments: Arguments) -> Arguments:
        return {"large": "x" * arguments["size"]}

    def connect(self) -> Client:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with socket_path(self.directory) as path:
                sock.connect(path)
        except BaseException:
            sock.close()
            raise
        sock.setblocking(False)
        return Client(sock)

    async def ask(self, data: bytes) -> list[Any]:
        """Send bytes and return all lines of the answer."""
        client = self.connect()
        try:
            # CP may answer, and close, before it has read all that is sent.
            sending = asyncio.create_task(client.send(data))
            received = b""
            try:
                while part := await client.receive():
                    received += part
            except ConnectionResetError:
                pass
            await asyncio.gather(sending, return_exceptions=True)
            return [json.loads(line) for line in received.splitlines()]
        finally:
            client.close()

    async def until_waiting(self) -> ClientConnection:
        """Return the connection of the client whose request is being handled."""
        while not self.waiting:
            await asyncio.sleep(0.001)
        return self.waiting[0]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    directory = tmp_path / ("long" * 30)  # longer than sun_path
    directory.mkdir(mode=0o700)
    return Served(directory)


def request(name: str, **arguments: object) -> bytes:
    return ControlRequest(name, arguments).pack()


def test_a_request_is_answered_and_the_connection_closed(served: Served) -> None:
    async def scenario() -> None:
        assert await served.ask(request("echo", word="é", surrogate="\udcff")) == [
            {"result": {"word": "é", "surrogate": "\udcff"}}
        ]
        assert (served.directory / "control").stat().st_mode & 0o777 == 0o600

    served.run(scenario())


def test_a_request_may_come_in_pieces_and_what_follows_is_not_read(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        for byte in request("echo", n=1):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert json.loads(await client.read_to_end()) == {"result": {"n": 1}}
        client.close()
        assert await served.ask(request("echo", n=2) + request("echo", n=3)) == [{"result": {"n": 2}}]

    served.run(scenario())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\n", "wanted one line of JSON"),
        (b"GET / HTTP/1.1\r\n\r\n", "found b'GET / HTTP/1.1"),
        (b"\xff\xfe\x00\n", "wanted one line of JSON"),
        (b"[1]\n", 'wanted "dcss": 1'),
        (b'{"dcss": 2, "request": "echo"}\n', 'found protocol 2, wanted "dcss": 1; use the dcss that CP runs'),
        (b'{"dcss": 1}\n', 'wanted text as "request"'),
        (b'{"dcss": 1, "request": "echo", "arguments": 5}\n', "wanted text as"),
        (b'{"dcss": 1, "request": "no"}\n', "found 'no', wanted one of echo, wait"),
        (b"[" * 100_000 + b"\n", "wanted"),
        (b"x" * (MAX_REQUEST_BYTES + 2), "bytes in one line"),
    ],
)
def test_what_is_no_request_is_an_error(served: Served, data: bytes, words: str) -> None:
    async def scenario() -> None:
        (answer,) = await served.ask(data)
        assert answer["error"]["kind"] == "usage"
        assert words in answer["error"]["lines"][0]
        assert await served.ask(request("echo")) == [{"result": {}}]

    served.run(scenario())


def test_the_longest_request_is_taken(served: Served) -> None:
    async def scenario() -> None:
        frame_bytes = len(request("echo", word=""))
        word = "x" * (MAX_REQUEST_BYTES - frame_bytes + 1)  # the newline does not count
        assert await served.ask(request("echo", word=word)) == [{"result": {"word": word}}]
        (answer,) = await served.ask(request("echo", word=word + "x"))
        assert "bytes in one line" in answer["error"]["lines"][0]

    served.run(scenario())


def test_what_a_handler_raises_is_the_answer_and_ends_nothing(served: Served) -> None:
    async def scenario() -> None:
        assert await served.ask(request("wrong")) == [{"error": {"kind": "usage", "lines": ["one", "two"]}}]
        (lost,) = await served.ask(request("lost"))
        assert lost["error"] == {"kind": "failed", "lines": ["[Errno 28] No space left on device"]}
        assert (await served.ask(request("kernel")))[0]["error"]["kind"] == "failed"
        assert served.faults == []
        (fault,) = await served.ask(request("fault"))
        assert "a fault in CP: ZeroDivisionError" in fault["error"]["lines"][0]
        assert "Traceback" in served.faults[0]
        assert await served.ask(request("echo")) == [{"result": {}}]

    served.run(scenario())


def test_an_answer_larger_than_any_buffer_arrives_whole(served: Served) -> None:
    async def scenario() -> None:
        (answer,) = await served.ask(request("large", size=20_000_000))
        assert len(answer["result"]["large"]) == 20_000_000

    served.run(scenario())


def test_a_client_that_takes_nothing_disturbs_nobody_and_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "STALL_SECONDS", 0.2)

    async def scenario() -> None:
        slow = served.connect()
        await slow.send(request("large", size=20_000_000))
        assert await served.ask(request("echo")) == [{"result": {}}]
        while served.server._clients:
            await asyncio.sleep(0.01)
        assert 0 < len(await slow.read_to_end()) < 20_000_000
        slow.close()

    served.run(scenario())


def test_a_client_that_takes_a_little_now_and_then_is_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in which it may take nothing begins anew with each piece that it takes."""
    limits: list[object] = []

    class Counted(type(asyncio)):  # type: ignore[misc]
        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        @staticmethod
        def timeout(seconds: float) -> asyncio.Timeout:
            limits.append(seconds)
            return asyncio.timeout(seconds)

    monkeypatch.setattr(connection_module, "asyncio", Counted("asyncio"))

    async def scenario() -> None:
        slow = served.connect()
        await slow.send(request("large", size=3_000_000))
        received = await slow.receive(200_000)
        begun = len(limits)
        received += await slow.read_to_end()
        assert len(limits) - begun > 3
        assert len(json.loads(received)["result"]["large"]) == 3_000_000
        slow.close()

    served.run(scenario())


def test_a_client_that_sends_nothing_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 0.05)

    async def scenario() -> None:
        silent, slow = served.connect(), served.connect()
        await slow.send(b"{")
        assert await silent.receive() == b""
        assert await slow.receive() == b""
        silent.close()
        slow.close()

    served.run(scenario())


def test_a_handler_is_cancelled_when_its_client_goes(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        await client.send(request("wait"))
        waiting = await served.until_waiting()
        assert served.cancelled == []
        client.close()
        while not served.cancelled:
            await asyncio.sleep(0.001)
        assert served.cancelled == [waiting]
        with pytest.raises(ConnectionError):
            await waiting.send_output(PIECE)
        while served.server._clients:
            await asyncio.sleep(0.001)
        assert served.faults == []

    served.run(scenario())


def test_a_handler_that_has_answered_is_not_cancelled(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        await client.send(request("wait"))
        await served.until_waiting()
        served.proceed.set()
        assert json.loads(await client.read_to_end()) == {"result": {}}
        client.close()
        while served.server._clients:
            await asyncio.sleep(0.001)
        assert served.cancelled == []

    served.run(scenario())


def test_a_client_that_goes_is_noticed_behind_all_that_it_sent(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        await client.send(request("wait") + bytes(3_000_000))
        await served.until_waiting()
        client.close()
        while not served.cancelled:
            await asyncio.sleep(0.001)

    served.run(scenario())


def test_a_stream_waits_for_a_client_that_reads_slowly(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        await client.send(request("stream", pieces=60))
        await served.until_waiting()
        sent = -1
        while sent != served.sent_pieces:
            sent = served.sent_pieces
            await asyncio.sleep(0.02)
        assert sent < 40
        received = await client.read_to_end()
        client.close()
        assert served.sent_pieces == 60
        assert received.count(b"\n") == 61
        assert json.loads(received.splitlines()[-1]) == {"result": {"done": True}}

    served.run(scenario())


def test_a_stream_whose_client_goes_is_cancelled(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        await client.send(request("stream", pieces=60))
        await served.until_waiting()
        client.close()
        while served.server._clients:
            await asyncio.sleep(0.001)
        assert served.sent_pieces < 60
        assert served.faults == []

    served.run(scenario())


def test_clients_beyond_the_bound_are_turned_away(served: Served) -> None:
    async def scenario() -> None:
        clients = [served.connect()]
        while len(clients) < MAX_CLIENTS:
            await asyncio.sleep(0)
            clients.append(served.connect())
        late = served.connect()
        assert await late.receive() == b""
        late.close()
        clients.pop().close()
        while len(served.server._clients) == MAX_CLIENTS:
            await asyncio.sleep(0.001)
        assert await served.ask(request("echo")) == [{"result": {}}]
        for client in clients:
            client.close()

    served.run(scenario())


def test_a_client_waits_while_cp_has_no_descriptor_left(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_ACCEPT_RETRY_SECONDS", 0.01)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        accept, failures = loop.sock_accept, [errno.EMFILE, errno.ENFILE]

        async def sock_accept(sock: socket.socket) -> tuple[socket.socket, Any]:
            if failures:
                number = failures.pop()
                raise OSError(number, os.strerror(number))
            return await accept(sock)

        monkeypatch.setattr(loop, "sock_accept", sock_accept)
        assert await served.ask(request("echo")) == [{"result": {}}]
        assert await served.ask(request("echo")) == [{"result": {}}]
        assert failures == []
        assert served.faults == []

    served.run(scenario())


def test_the_peer_is_who_the_kernel_says(served: Served) -> None:
    async def scenario() -> None:
        client = served.connect()
        assert peer_of(client.sock) == (os.getpid(), os.geteuid(), os.getegid())
        client.close()

    served.run(scenario())


def test_closing_cancels_what_is_under_way_and_closes_every_connection(served: Served) -> None:
    async def scenario() -> None:
        idle, busy = served.connect(), served.connect()
        await busy.send(request("wait"))
        await served.until_waiting()
        await served.server.close()
        assert len(served.cancelled) == 1
        assert await idle.receive() == b""
        assert await busy.receive() == b""
        idle.close()
        busy.close()
        with pytest.raises(ConnectionRefusedError):
            served.connect()

    served.run(scenario())


@pytest.mark.needs("other_users")
def test_another_user_is_turned_away() -> None:
    found = others_python()
    assert found is not None
    # The directory and the socket's mode keep others out already; this is what holds if someone loosens them.
    with tempfile.TemporaryDirectory() as name:
        served = Served(Path(name))
        Path(name).chmod(0o755)
        Path(name, "control").chmod(0o666)
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(sys.argv[1]);"
            " print(s.recv(100))"
        )

        async def scenario() -> None:
            process = await asyncio.create_subprocess_exec(
                *(found[0], "-c", code, f"{name}/control"),
                env={"PATH": "/usr/bin:/bin"},
                stdout=subprocess.PIPE,
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
            )
            output, _ = await process.communicate()
            assert output == b"b''\n"

        served.run(scenario())

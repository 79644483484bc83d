"""The control socket: answers, and clients that are slow, silent, loud, gone or too many."""

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcss.errors import ConfigError, KernelError, LaunchError
from dcss.rpc import connection as talk
from dcss.rpc.address import peer_of, socket_path
from dcss.rpc.connection import ClientConnection
from dcss.rpc.loop import Loop
from dcss.rpc.protocol import MAX_REQUEST_BYTES, Output, Request
from dcss.rpc.server import MAX_CLIENTS, ControlServer


class Served:
    """A server whose loop the test turns itself."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.loop = Loop()
        self.faults: list[str] = []
        self.waiting: list[ClientConnection] = []
        self.server = ControlServer(
            self.loop,
            directory,
            {
                "echo": lambda client, arguments: client.finish(arguments),
                "wait": lambda client, _: self.waiting.append(client),
                "wrong": self.wrong,
                "fault": lambda *_: print(1 / 0),
                "lost": self.lost,
                "kernel": self.kernel,
                "large": lambda client, arguments: client.finish({"large": "x" * arguments["size"]}),
            },
            self.faults.append,
        )

    def wrong(self, _: ClientConnection, __: dict[str, Any]) -> None:
        raise ConfigError("one", "two")

    def lost(self, _: ClientConnection, __: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    def kernel(self, _: ClientConnection, __: dict[str, Any]) -> None:
        raise KernelError(5, "Input/output error")

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with socket_path(self.directory) as path:
            client.connect(path)
        client.settimeout(5)
        return client

    def turn(self, times: int = 8) -> None:
        for _ in range(times):
            self.loop.turn(0.001)

    def say(self, data: bytes) -> list[Any]:
        """Send bytes and return all lines of the answer."""
        with self.connect() as client:
            received = b""
            client.setblocking(False)
            end = time.monotonic() + 5
            while time.monotonic() < end:
                self.turn(2)
                try:
                    data = data[client.send(data) :] if data else b""
                    part = client.recv(1 << 20)
                except BlockingIOError:
                    continue
                except (ConnectionResetError, BrokenPipeError):
                    data = part = b""
                if not part:
                    return [json.loads(line) for line in received.splitlines()]
                received += part
        raise AssertionError(f"no end after {received[:100]!r}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    directory = tmp_path / ("long" * 30)  # longer than sun_path
    directory.mkdir(mode=0o700)
    server = Served(directory)
    yield server
    server.server.close()
    server.loop.close()


def request(name: str, **arguments: object) -> bytes:
    return Request(name, arguments).pack()


def test_a_request_is_answered_and_the_connection_closed(served: Served) -> None:
    assert served.say(request("echo", word="é", surrogate="\udcff")) == [
        {"result": {"word": "é", "surrogate": "\udcff"}}
    ]
    assert (served.directory / "control").stat().st_mode & 0o777 == 0o600


def test_a_request_may_come_in_pieces_and_what_follows_is_not_heard(served: Served) -> None:
    with served.connect() as client:
        for byte in request("echo", n=1):
            client.send(bytes([byte]))
            served.turn(1)
        served.turn()
        assert json.loads(client.recv(1000)) == {"result": {"n": 1}}
    assert served.say(request("echo", n=2) + request("echo", n=3)) == [{"result": {"n": 2}}]


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
    (answer,) = served.say(data)
    assert answer["error"]["kind"] == "usage"
    assert words in answer["error"]["lines"][0]
    assert served.say(request("echo")) == [{"result": {}}]


def test_what_a_handler_raises_is_told_and_ends_nothing(served: Served) -> None:
    assert served.say(request("wrong")) == [{"error": {"kind": "usage", "lines": ["one", "two"]}}]
    (lost,) = served.say(request("lost"))
    assert lost["error"] == {"kind": "failed", "lines": ["[Errno 28] No space left on device"]}
    assert served.say(request("kernel"))[0]["error"]["kind"] == "failed"
    assert served.faults == []
    (fault,) = served.say(request("fault"))
    assert "a fault in CP: ZeroDivisionError" in fault["error"]["lines"][0]
    assert "Traceback" in served.faults[0]
    assert served.say(request("echo")) == [{"result": {}}]


def test_an_answer_larger_than_any_buffer_arrives_whole(served: Served) -> None:
    (answer,) = served.say(request("large", size=20_000_000))
    assert len(answer["result"]["large"]) == 20_000_000


def test_a_client_that_takes_nothing_disturbs_nobody_and_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "STALL_SECONDS", 0.2)
    with served.connect() as slow:
        slow.sendall(request("large", size=20_000_000))
        served.turn()
        began = time.monotonic()
        assert served.say(request("echo")) == [{"result": {}}]
        assert time.monotonic() - began < 0.15
        time.sleep(0.25)
        served.turn()
        received = 0
        while part := slow.recv(1 << 20):
            received += len(part)
        assert 0 < received < 20_000_000


def test_a_client_that_takes_a_little_now_and_then_is_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "STALL_SECONDS", 0.3)
    with served.connect() as slow:
        slow.sendall(request("large", size=3_000_000))
        received = 0
        for _ in range(10):
            served.turn()
            received += len(slow.recv(300_000))
            time.sleep(0.05)
        slow.setblocking(False)
        end = time.monotonic() + 5
        while received < 3_000_000 and time.monotonic() < end:
            served.turn()
            try:
                received += len(slow.recv(1 << 20))
            except BlockingIOError:
                continue
        assert received > 3_000_000


def test_a_client_that_says_nothing_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "REQUEST_SECONDS", 0.05)
    with served.connect() as silent, served.connect() as slow:
        slow.send(b"{")
        served.turn()
        time.sleep(0.06)
        served.turn()
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""


def test_a_client_that_goes_is_forgotten(served: Served) -> None:
    client = served.connect()
    client.sendall(request("wait"))
    served.turn()
    (waiting,) = served.waiting
    assert waiting.open
    client.close()
    served.turn()
    assert not waiting.open
    waiting.output(Output("stdout", b"x"))
    waiting.finish({"too": "late"})
    waiting.fail(LaunchError("too late"))
    waiting.attempt(lambda: 1 / 0)
    assert served.faults == []


def test_a_stream_is_told_when_to_pause_and_when_to_go_on(served: Served) -> None:
    with served.connect() as client:
        client.sendall(request("wait"))
        served.turn()
        (waiting,) = served.waiting
        pieces = 0
        while not waiting.congested:
            waiting.output(Output("stdout", bytes(60_000)))
            pieces += 1
        assert pieces < 40
        drained: list[bool] = []
        waiting.drained = lambda: drained.append(True)
        served.turn()
        assert not drained
        received = b""
        while received.count(b"\n") < pieces:
            served.turn(2)
            received += client.recv(1 << 20)
        served.turn()
        assert drained == [True]
        assert not waiting.congested
        waiting.finish({})
        served.turn()
        assert json.loads(client.recv(1000)) == {"result": {}}


def test_a_stream_whose_client_goes_is_told_to_go_on(served: Served) -> None:
    client = served.connect()
    client.sendall(request("wait"))
    served.turn()
    (waiting,) = served.waiting
    while not waiting.congested:
        waiting.output(Output("stdout", bytes(60_000)))
    drained: list[bool] = []
    waiting.drained = lambda: drained.append(True)
    client.close()
    served.turn()
    assert drained == [True]


def test_clients_beyond_the_bound_are_turned_away(served: Served) -> None:
    clients = [served.connect() for _ in range(MAX_CLIENTS)]
    served.turn(MAX_CLIENTS + 8)
    with served.connect() as late:
        served.turn()
        assert late.recv(1) == b""
    clients.pop().close()
    served.turn()
    assert served.say(request("echo")) == [{"result": {}}]
    for client in clients:
        client.close()


def test_the_peer_is_who_the_kernel_says(served: Served) -> None:
    with served.connect() as client:
        assert peer_of(client) == (os.getpid(), os.geteuid(), os.getegid())


@pytest.mark.needs("root")
def test_another_user_is_turned_away() -> None:
    # The directory and the socket's mode keep others out already; this is what holds if someone loosens them.
    with tempfile.TemporaryDirectory() as name:
        served = Served(Path(name))
        Path(name).chmod(0o755)
        Path(name, "control").chmod(0o666)
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(sys.argv[1]);"
            " print(s.recv(100))"
        )
        process = subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", code, f"{name}/control"],
            env={"PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            text=True,
            user=65534,
            group=65534,
            extra_groups=[],
        )
        end = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < end:
            served.turn()
        assert process.communicate()[0] == "b''\n"
        served.server.close()
        served.loop.close()


@pytest.mark.parametrize("answered", [False, True])
def test_who_works_for_a_client_hears_that_it_went_without_its_answer(served: Served, *, answered: bool) -> None:
    client = served.connect()
    client.sendall(request("wait"))
    served.turn()
    (waiting,) = served.waiting
    gone: list[bool] = []
    waiting.gone = lambda: gone.append(True)
    if answered:
        waiting.finish({})
    client.close()
    served.turn()
    assert gone == ([] if answered else [True])

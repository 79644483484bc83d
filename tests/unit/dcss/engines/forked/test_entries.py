"""The fork server's entries: what it does with a first guest or a template that does not do what it should."""

import errno
import json
import os
import resource
import selectors
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from dcss.abi.console import Start
from dcss.engines.forked import entries as module
from dcss.engines.forked import template
from dcss.engines.forked.entries import FIRST, Entries, Entry
from dcss.engines.forked.families import Child, Kind
from dcss.engines.forked.guest_process import Asked
from vmguest.spec import CLONE, FULL, GuestSpec


def asked(name: str, boot: str = CLONE, namesave: tuple[str, ...] = ()) -> tuple[GuestSpec, list[int]]:
    """Return a guest that CP asks for, with descriptors of its own."""
    spec = GuestSpec(name, 16 << 20, (), (), (), boot=boot, namesave=namesave)
    return spec, [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]


class Server:
    """Entries with a selector, CP's end of the socket, and guests that are processes which only wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cp, self.control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.cp.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.swept: list[str] = []
        self.entries = Entries(self.control, self.selector, self, self.swept.append)
        self.started: list[tuple[str, Start]] = []
        self.guests: dict[str, socket.socket] = {}  # the first guests' ends of their sockets
        self.pids: list[int] = []
        monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)

    def fork(self, asked: Asked, start: Start, template_control: int | None = None) -> tuple[int, int]:
        """Start what stands for a guest."""
        self.started.append((asked.spec.name, start))
        if template_control is not None:
            self.guests[asked.spec.name] = socket.socket(fileno=os.dup(template_control))
        return self.process()

    def process(self) -> tuple[int, int]:
        """Start a process that waits, and return it with a descriptor of it."""
        pid = os.fork()
        if pid == 0:
            os.closerange(3, 1 << 10)
            signal.pause()
            os._exit(0)
        self.pids.append(pid)
        return pid, os.pidfd_open(pid)

    def hear(self, patience: float = 10.0) -> None:
        """Take what first guests and templates say, one thing at least, until they say nothing."""
        while ready := [key for key, _ in self.selector.select(patience) if isinstance(key.data, Entry)]:
            patience = 0.0
            for key in ready:
                self.entries.heard(key.data)

    def has_template(self, name: str) -> int:
        """Have the first guest of an entry leave a template; return its process id."""
        pid, pidfd = self.process()
        os.close(pidfd)
        self.guests[name].send(template.READY)
        self.guests[name].send(template.pack(template.TEMPLATE, pid))
        self.hear()
        assert self.guests[name].recv(100) == template.FORK
        return pid

    def events(self) -> list[tuple[str, object]]:
        """Return what CP has been told, with the guest's name or the template's process."""
        told = []
        with suppress(BlockingIOError):
            while True:
                message = json.loads(self.cp.recv(4096))
                told.append((message["event"], message.get("name", message.get("pid"))))
        return told

    def close(self) -> None:
        """End every process, and close what the server has open."""
        for key in list(self.selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self.selector.close()
        for each in (self.cp, self.control, *self.guests.values()):
            each.close()
        for pid in self.pids:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server(monkeypatch)
    try:
        yield made
    finally:
        made.close()


def test_guests_that_are_not_to_be_copied_boot_each_by_itself(server: Server) -> None:
    for name in "AB":
        server.entries.start(*asked(name, FULL))
    assert server.started == [("A", Start(cloned=False)), ("B", Start(cloned=False))]
    assert server.events() == [("started", "A"), ("started", "B")]


def test_others_wait_for_the_template_of_the_first(server: Server) -> None:
    for name in "ABC":
        server.entries.start(*asked(name))
    assert server.started == [("A", FIRST)]
    copies = [server.process()[0] for _ in range(2)]
    maker = server.guests["A"]
    pid, _ = server.process()
    maker.send(template.READY)
    maker.send(template.pack(template.TEMPLATE, pid))
    for copy in copies:
        maker.send(template.pack(template.FORKED, copy))
    server.hear()
    assert server.events() == [("started", "A"), ("template", pid), ("started", "B"), ("started", "C")]
    assert [maker.recv(100) for _ in range(3)] == [template.FORK, b"B", b"C"]
    kinds = [key.data.kind for key in server.selector.get_map().values() if isinstance(key.data, Child)]
    assert kinds == [Kind.GUEST, Kind.TEMPLATE, Kind.GUEST, Kind.GUEST]


def test_a_refusal_holds_for_all_that_come(server: Server) -> None:
    for name in "AB":
        server.entries.start(*asked(name))
    server.guests["A"].send(template.pack(template.REFUSED, "it copies files"))
    server.hear()
    server.entries.start(*asked("C"))
    reason = Start(cloned=False, reason="it copies files")
    assert server.started == [("A", FIRST), ("B", reason), ("C", reason)]


@pytest.mark.parametrize(
    "packets", [[], [b"nonsense"], [b"template"], [b"template x"], [b"ready"], [b"ready", b"forked 1"]]
)
def test_after_a_first_guest_that_leaves_no_template_the_next_one_is_the_first(
    server: Server, packets: list[bytes]
) -> None:
    for name in "ABC":
        server.entries.start(*asked(name))
    for packet in packets:
        server.guests["A"].send(packet)
    server.guests["A"].close()
    server.hear()
    assert server.started == [("A", FIRST), ("B", FIRST)]
    assert server.events() == [("started", "A"), ("started", "B")]


@pytest.mark.parametrize("answer", [None, b"", b"forked"])
def test_a_template_that_does_not_answer_is_killed_and_the_guest_boots(server: Server, answer: bytes | None) -> None:
    server.entries.start(*asked("A"))
    pid = server.has_template("A")
    if answer is None:
        server.guests["A"].close()
    elif answer:
        server.guests["A"].send(answer)
    server.entries.start(*asked("B"))
    assert server.started == [("A", FIRST), ("B", FIRST)]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert server.swept == ["B"]


def test_nobody_waits_for_a_first_guest_that_was_stopped(server: Server) -> None:
    assert server.entries.patience_seconds is None
    for name in "AB":
        server.entries.start(*asked(name))
    assert server.entries.patience_seconds is not None
    server.entries.look_at_first()
    assert server.started == [("A", FIRST)]
    (first,) = server.pids
    os.kill(first, signal.SIGSTOP)
    os.waitpid(first, os.WUNTRACED)
    server.entries.look_at_first()
    assert server.started == [("A", FIRST), ("B", FIRST)]
    assert server.entries.patience_seconds is None


def test_nobody_waits_for_a_template_that_was_stopped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", float("inf"))
    server.entries.start(*asked("A"))
    pid = server.has_template("A")
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    server.entries.start(*asked("B"))
    assert server.started == [("A", FIRST), ("B", FIRST)]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_guests_that_may_load_other_segments_are_another_entry(server: Server) -> None:
    server.entries.start(*asked("A"))
    server.has_template("A")
    server.entries.start(*asked("B", namesave=("KEPT",)))
    assert server.started == [("A", FIRST), ("B", FIRST)]
    assert server.entries.patience_seconds is None, "B waits for no template of A's"


def test_the_limit_that_a_template_met_is_the_one_that_is_named(server: Server) -> None:
    server.entries.start(*asked("A"))
    pid = server.has_template("A")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (77, 99))
    server.guests["A"].send(template.pack(template.FAILED, errno.EMFILE))
    server.entries.start(*asked("B"))
    while (message := json.loads(server.cp.recv(4096)))["event"] != "refused":
        pass
    assert "all 77 descriptors are in use" in message["reason"]


def test_a_template_that_cannot_fork_refuses_one_guest(server: Server) -> None:
    server.entries.start(*asked("A"))
    server.has_template("A")
    server.guests["A"].send(template.pack(template.FAILED, 11))
    server.entries.start(*asked("B"))
    assert [event for event, _ in server.events()] == ["started", "template", "refused"]


def test_a_template_is_left_when_a_copy_found_another_version(server: Server) -> None:
    server.entries.start(*asked("A"))
    old = server.has_template("A")
    copy, _ = server.process()
    server.guests["A"].send(template.DIFFERS)
    server.guests["A"].send(template.pack(template.FORKED, copy))
    server.entries.start(*asked("B"))
    assert os.waitstatus_to_exitcode(os.waitpid(old, 0)[1]) == -signal.SIGKILL
    server.entries.start(*asked("C"))
    assert server.started == [("A", FIRST), ("C", FIRST)]
    assert [event for event, _ in server.events()] == ["started", "template", "started", "started"]

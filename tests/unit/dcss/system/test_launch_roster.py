"""What a roster makes of the order in which news of a guest arrive; the fork server and CP are played."""

import errno
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from system_support import guest

from dcss.abi.console import VERDICT, Verdict
from dcss.abi.hypercall import REPLY, Reply
from dcss.config.plan import GuestPlan, SystemPlan
from dcss.cp.program import ControlProgram
from dcss.cp.steps import Steps
from dcss.engines.process.forkclient import Ended, ForkServer, Refused, Started
from dcss.rpc.loop import Loop
from dcss.system import supervisor as roster_module
from dcss.system.guest import Member, State
from dcss.system.jobs import Jobs
from dcss.system.log import SystemLog
from dcss.system.supervisor import Supervisor

READY = VERDICT + Verdict(0, 0.1, 0, 0, 0).pack()


class PlayedServer:
    """Keeps the guest's ends of what it was given, and tells what the test says."""

    def __init__(self) -> None:
        self.control, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reservation = SimpleNamespace(window=0)
        self.ports: list[socket.socket] = []
        self.consoles: list[socket.socket] = []
        self.events: list[Started | Refused | Ended] = []
        self.jobs: Jobs
        self.copied = threading.Event()  # CP's work on the hypercall "long" ends with it

    def spawn(self, _spec: object, port: socket.socket, console: socket.socket, _log: int) -> bool:
        self.ports.append(port.dup())
        self.consoles.append(console.dup())
        return True

    def end_errands(self) -> None:
        self.copied.set()
        self.jobs.close()

    def tell(self, event: Started | Refused | Ended) -> None:
        self.events.append(event)
        self.theirs.send(b"event")

    def event(self) -> Started | Refused | Ended:
        self.control.recv(16)
        return self.events.pop(0)


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    server = PlayedServer()
    yield server
    for each in (server.control, server.theirs, *server.ports, *server.consoles):
        each.close()


def roster_of(
    guests: tuple[GuestPlan, ...], server: PlayedServer, loop: Loop, journal: SystemLog, at: Path
) -> Supervisor:
    def handled(_: str, packet: bytes) -> Steps[Reply]:
        if packet == b"long":
            yield server.copied.wait
        return Reply(0, len(packet))

    server.jobs = Jobs(loop)
    cp: Any = SimpleNamespace(
        lock=SimpleNamespace(directory=at),
        register=lambda *_, **__: None,
        release=lambda _: None,
        handle_steps=handled,
    )
    return Supervisor(
        SystemPlan("played", (), guests, at / "played.yaml"),
        cp=cast(ControlProgram, cp),
        fork_server=cast(ForkServer, server),
        loop=loop,
        jobs=server.jobs,
        journal=journal,
        settled=lambda _: None,
    )


@pytest.fixture
def member_and_roster(server: PlayedServer, tmp_path: Path) -> Iterator[tuple[Member, Supervisor, Loop]]:
    loop, journal = Loop(), SystemLog(tmp_path)
    roster = roster_of((guest("G"),), server, loop, journal, tmp_path)
    member = roster.members["G"]
    roster.start(member)
    yield member, roster, loop
    if member.guest is not None:
        member.guest.close()
    server.end_errands()
    loop.close()
    journal.close()


def start(server: PlayedServer, loop: Loop) -> int:
    """Tell of a process that only ends when it is killed; return its number."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    server.tell(Started("G", pid, os.pidfd_open(pid)))
    loop.turn(1)
    return pid


def test_a_guest_is_ready_with_its_verdict(
    server: PlayedServer, member_and_roster: tuple[Member, Supervisor, Loop]
) -> None:
    member, roster, loop = member_and_roster
    pid = start(server, loop)
    server.consoles[0].send(READY)
    loop.turn(1)
    assert member.state is State.READY
    roster.stop(member)
    os.waitpid(pid, 0)


def test_a_port_that_only_seemed_readable_is_no_reason_to_kill_a_guest(
    server: PlayedServer, member_and_roster: tuple[Member, Supervisor, Loop]
) -> None:
    """In storms epoll said so, now and then, of a port that had nothing to read."""
    member, roster, loop = member_and_roster
    pid = start(server, loop)
    assert member.guest is not None
    roster._hypercall(member, member.guest)
    assert member.guest.pidfd is not None
    assert not select.select([member.guest.pidfd], [], [], 0.5)[0], "it was killed"
    member.guest.kill()
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOBUFS, "CP could not reply to its hypercall: No buffer space available"),
        (errno.ETOOMANYREFS, "CP could not reply to its hypercall: Too many references: cannot splice: more than "),
        (errno.EBADF, "CP could not reply to its hypercall: Bad file descriptor"),
        (errno.EAGAIN, "it makes hypercalls and does not read CP's replies"),
    ],
)
def test_a_guest_that_gets_no_reply_fails_and_says_why(
    server: PlayedServer,
    member_and_roster: tuple[Member, Supervisor, Loop],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    told: str,
) -> None:
    """Left alone it would wait in its hypercall for ever."""
    member, _, loop = member_and_roster
    pid = start(server, loop)
    fail_to_reply(monkeypatch, number)
    server.ports[0].send(b"hypercall")
    loop.turn(1)
    assert member.guest is not None
    assert member.guest.pidfd is not None
    killed = bool(select.select([member.guest.pidfd], [], [], 5)[0])
    os.kill(pid, signal.SIGKILL)
    server.tell(Ended("G", pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    loop.turn(1)
    assert killed, "it was left waiting"
    assert member.state is State.FAILED
    assert member.outcome().log.startswith(told)


def test_a_guest_whose_hypercall_takes_long_is_answered_when_it_is_done(
    server: PlayedServer, member_and_roster: tuple[Member, Supervisor, Loop]
) -> None:
    """What it sends before that waits, and the loop goes on."""
    member, _, loop = member_and_roster
    pid = start(server, loop)
    port = server.ports[0]
    port.settimeout(10)
    for packet in (b"long", b"short"):
        port.send(packet)
    for _ in range(3):
        loop.turn(0)
    server.consoles[0].send(READY)
    loop.turn(1)
    assert member.state is State.READY
    assert not select.select([port], [], [], 0)[0]
    server.copied.set()
    while not select.select([port], [], [], 0)[0]:
        loop.turn(1)
    loop.turn(1)
    assert [REPLY.unpack(port.recv(64))[1] for _ in range(2)] == [len(b"long"), len(b"short")]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_guest_that_ended_in_a_long_hypercall_needs_no_reply(
    server: PlayedServer, member_and_roster: tuple[Member, Supervisor, Loop]
) -> None:
    member, _, loop = member_and_roster
    pid = start(server, loop)
    server.ports[0].send(b"long")
    loop.turn(1)
    os.kill(pid, signal.SIGKILL)
    server.tell(Ended("G", pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    loop.turn(1)
    assert member.state is State.KILLED
    server.copied.set()
    loop.turn(1)
    assert (member.state, member.reason) == (State.KILLED, "")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
def test_a_guest_that_ended_before_its_reply_is_heard_no_more(
    server: PlayedServer,
    member_and_roster: tuple[Member, Supervisor, Loop],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    member, _, loop = member_and_roster
    pid = start(server, loop)
    fail_to_reply(monkeypatch, number)
    for _ in range(2):
        server.ports[0].send(b"hypercall")
    for _ in range(3):
        loop.turn(0)
    assert member.guest is not None
    assert member.guest.port.recv(16) == b"hypercall", "the second one was read too"
    os.kill(pid, signal.SIGTERM)
    server.tell(Ended("G", pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    loop.turn(1)
    assert (member.state, member.reason) == (State.KILLED, "")


def fail_to_reply(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have CP's replies fail with an error number; OSError makes the class that belongs to it."""

    def send_reply(_port: socket.socket, _reply: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(roster_module, "send_reply", send_reply)


def test_whoever_stops_a_guest_hears_of_its_end_and_not_that_it_became_ready(
    server: PlayedServer, member_and_roster: tuple[Member, Supervisor, Loop]
) -> None:
    member, roster, loop = member_and_roster
    pid = start(server, loop)
    told: list[State] = []
    member.waiters.append(lambda: told.append(member.state))
    server.consoles[0].send(READY)  # sent before it is killed, heard after
    roster.stop(member)
    loop.turn(1)
    assert told == []
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    server.tell(Ended("G", pid, status))
    for _ in range(3):
        loop.turn(0)
    assert told == [State.STOPPED]


def test_a_row_of_guests_longer_than_pythons_stack_fails_with_its_first(server: PlayedServer, tmp_path: Path) -> None:
    count = 2000
    guests = tuple(guest(f"G{n}", after=(f"G{n - 1}",) if n else ()) for n in range(count))
    loop, journal = Loop(), SystemLog(tmp_path)
    roster = roster_of(guests, server, loop, journal, tmp_path)
    roster.launch()
    members = list(roster.members.values())
    assert {member.state for member in members[1:]} == {State.WAITING}
    server.tell(Refused("G0", "no memory"))
    loop.turn(1)
    assert {member.state for member in members} == {State.FAILED}
    assert roster.all_settled
    assert members[-1].reason == f"not started, since it comes after G{count - 2}, which is failed"
    server.end_errands()
    loop.close()
    journal.close()

"""The fork server's children: a guest's end is reported once nothing that it left is there, and nothing outlives it."""

import json
import os
import pickle
import selectors
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import pytest

from dcss.engines.forked.families import Child, GuestFamilies, Kind, end_children
from dcss.host.prctl import adopt_orphans
from dcss.host.process import child_pids


def in_a_server(scenario: Callable[[], Any]) -> Any:
    """Run `scenario` in a process of its own that adopts orphans, and return what it returns."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            adopt_orphans()
            result = scenario()
        except BaseException as error:
            result = error
        with suppress(ChildProcessError):
            for child in child_pids():
                os.kill(child, signal.SIGKILL)
        os.write(writer, pickle.dumps(result))
        os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            result = pickle.load(pipe)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if isinstance(result, BaseException):
        raise result
    return result


def wait_for_signals() -> NoReturn:
    while True:
        signal.pause()


def forked(action: Callable[[], object]) -> int:
    """Fork a process that does `action`, and exits with what it returns."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = int(str(action()))
        finally:
            os._exit(status)
    return pid


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Server:
    """What the fork server has: CP's socket, a selector, and guests."""

    def __init__(self) -> None:
        self.cp, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.cp.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ)
        self.families = GuestFamilies(control, self.selector)

    def guest(self, name: str, action: Callable[[], object]) -> int:
        """Start a guest, and wait until its process has ended."""
        pid = forked(action)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.selector.register(os.pidfd_open(pid), selectors.EVENT_READ, Child(name, pid, Kind.GUEST))
        return pid

    def end_one(self) -> str:
        """Take note of the end of one process; return its guest's name."""
        key = next(key for key, _ in self.selector.select(10) if key.data is not None)
        self.families.process_ended(key)
        return str(key.data.name)

    def reports(self) -> list[dict[str, object]]:
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(json.loads(self.cp.recv(1 << 16)))
        return found


def leave_one_behind() -> int:
    """Fork a process that is hard to end, and exit with status 3."""
    ready, done = os.pipe()

    def stay() -> NoReturn:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(done, b"x")
        wait_for_signals()

    forked(stay)
    os.read(ready, 1)
    return 3


def test_the_end_of_a_guest_that_left_nothing_is_reported_at_once() -> None:
    def scenario() -> Any:
        server = Server()
        pid = server.guest("A", lambda: 7)
        server.end_one()
        return pid, server.reports(), len(server.selector.get_map())

    pid, reports, watched = in_a_server(scenario)
    assert reports == [{"event": "ended", "name": "A", "pid": pid, "status": 7}]
    assert watched == 1


def test_the_end_of_a_guest_is_reported_when_what_it_left_has_been_ended() -> None:
    def scenario() -> Any:
        server = Server()
        pid = server.guest("A", leave_one_behind)
        server.end_one()
        before = server.reports()
        (orphan,) = child_pids()
        server.guest("B", lambda: 0)
        ended = {server.end_one(), server.end_one()}
        return pid, before, ended, server.reports(), is_gone(orphan)

    pid, before, ended, reports, gone = in_a_server(scenario)
    assert before == []
    assert ended == {"A", "B"}
    assert sorted((report["name"], report["status"]) for report in reports) == [("A", 3), ("B", 0)]
    assert next(report["pid"] for report in reports if report["name"] == "A") == pid
    assert gone


def test_what_a_guest_left_is_ended_without_a_descriptor_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def scenario() -> Any:
        server = Server()
        server.guest("A", leave_one_behind)

        def refuse(_: int) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(os, "pidfd_open", refuse)
        server.end_one()
        return [report["status"] for report in server.reports()], list(child_pids())

    assert in_a_server(scenario) == ([3], [])


def test_other_guests_are_not_ended_with_one() -> None:
    def scenario() -> Any:
        server = Server()
        living = forked(wait_for_signals)
        server.selector.register(os.pidfd_open(living), selectors.EVENT_READ, Child("B", living, Kind.GUEST))
        server.guest("A", lambda: 0)
        server.end_one()
        return [report["name"] for report in server.reports()], list(child_pids()) == [living]

    assert in_a_server(scenario) == (["A"], True)


def test_ending_children_ends_theirs_in_whatever_session() -> None:
    def scenario() -> Any:
        ready, started = os.pipe()

        def stay() -> NoReturn:
            os.write(started, b"%8d" % os.getpid())
            wait_for_signals()

        def leave_more() -> NoReturn:
            os.setsid()
            forked(stay)
            stay()

        for _ in range(3):
            forked(leave_more)
        family = [int(os.read(ready, 8)) for _ in range(6)]
        end_children()
        return len(set(family)), [pid for pid in family if not is_gone(pid)]

    assert in_a_server(scenario) == (6, [])

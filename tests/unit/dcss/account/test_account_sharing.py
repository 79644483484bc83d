"""Pages that processes share, counted again and again: of a process that has not run since, nothing is read anew."""

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dcss.abi.page import PAGE_SIZE
from dcss.account import sharing, turns
from dcss.account.sharing import SharedPages, SharingCounter, SharingGuest
from dcss.account.space import ProcessPages
from dcss.account.targets import AddressRange, Object
from dcss.account.turns import turns_of

PAGES = 16
EVERYWHERE = (AddressRange(0, 1 << 63),)


class User:
    """A child that maps an object, and touches a page of it whenever it is told to."""

    def __init__(self, descriptor: int) -> None:
        wanted, self._wanted = os.pipe()
        self._done, done = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            area = mmap.mmap(descriptor, PAGES * PAGE_SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
            os.write(done, b"d")
            while page := os.read(wanted, 1):
                os.write(done, area[page[0] * PAGE_SIZE : page[0] * PAGE_SIZE + 1] and b"d")
            os._exit(0)

    def touch(self, page: int) -> None:
        os.write(self._wanted, bytes([page]))
        self.wait()

    def wait(self) -> None:
        assert os.read(self._done, 1) == b"d"
        before = None
        while before is None or before != turns_of((self.pid,)):  # until it sleeps
            before = turns_of((self.pid,))
            time.sleep(0.01)

    def end(self) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


@contextmanager
def users(count: int) -> Iterator[tuple[list[User], dict[Object, int]]]:
    descriptor = os.memfd_create("shared")
    os.pwrite(descriptor, bytes(range(1, PAGES + 1)) * PAGE_SIZE, 0)
    status = os.fstat(descriptor)
    found = [User(descriptor) for _ in range(count)]
    try:
        for user in found:
            user.wait()
        yield found, {(status.st_dev, status.st_ino): PAGES}
    finally:
        for user in found:
            user.end()
        os.close(descriptor)


def guests(found: list[User]) -> list[SharingGuest]:
    return [SharingGuest(user.pid, EVERYWHERE) for user in found]


def test_a_page_counts_once_for_each_that_uses_it() -> None:
    with users(3) as (found, objects):
        for user, page in ((0, 1), (1, 1), (2, 1), (0, 9), (1, 9), (2, 15)):
            found[user].touch(page)
        counted = SharingCounter().count(guests(found), objects)
    assert counted is not None
    assert counted.shared >= 2  # the kernel maps neighbours of a page, too
    assert counted.sharing >= 3


def test_of_what_sleeps_nothing_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with users(2) as (found, objects):
        counter = SharingCounter()
        for user in found:
            user.touch(0)
        before = counter.count(guests(found), objects)
        read: list[int] = []
        original = ProcessPages.read

        def reading(pid: int, wanted: frozenset[Object] | None = None) -> ProcessPages:
            read.append(pid)
            return original(pid, wanted)

        monkeypatch.setattr(ProcessPages, "read", reading)
        monkeypatch.setattr(sharing, "is_due", lambda _pid, _looks: False)  # by chance, else: it depends on the pid
        assert counter.count(guests(found), objects) == before
        assert read == []
        found[1].touch(PAGES - 1)
        assert counter.count(guests(found), objects) is not None
        assert read == [found[1].pid]


def test_what_sleeps_is_read_anew_at_its_own_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with users(2) as (found, objects):
        counter = SharingCounter()
        counter.count(guests(found), objects)
        read: list[int] = []
        original = ProcessPages.read

        def reading(pid: int, wanted: frozenset[Object] | None = None) -> ProcessPages:
            read.append(pid)
            return original(pid, wanted)

        monkeypatch.setattr(ProcessPages, "read", reading)
        for _ in range(turns._ANEW_LOOKS):
            counter.count(guests(found), objects)
        assert sorted(read) == sorted(user.pid for user in found)


def test_who_has_ended_is_left_out() -> None:
    with users(2) as (found, objects):
        counter = SharingCounter()
        for user in found:
            user.touch(0)
        counter.count(guests(found), objects)
        os.kill(found[0].pid, 9)
        os.waitid(os.P_PID, found[0].pid, os.WEXITED | os.WNOWAIT)
        assert counter.count(guests(found), objects) == SharedPages(0, 0)

"""epoll, eventfd and timerfd: what they report, beside this machine's kernel where that can be compared."""

import os
import select
from collections.abc import Callable
from errno import EAGAIN, EEXIST, EINVAL, ELOOP, ENOENT, EPERM
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from program_support import errno_of, read

from dcss.errors import KernelError
from vmguest.fs.epoll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLL_EVENT,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
    Epoll,
    new_epoll,
)
from vmguest.fs.eventfd import EFD_SEMAPHORE, new_eventfd
from vmguest.fs.memory_devices import MEMORY_DEVICES
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_APPEND, O_CREAT, O_NONBLOCK, O_RDWR, FileDescription, open_file
from vmguest.fs.pipe import make_pipe
from vmguest.fs.poll import POLLHUP, POLLIN, POLLOUT, READABLE, WRITABLE
from vmguest.fs.timerfd import TFD_TIMER_ABSTIME, TimerFile, TimerSetting, new_timerfd

PIPES = 2


class Step(NamedTuple):
    action: str
    pipe: int
    events: int


kinds = st.sampled_from([0, EPOLLONESHOT])
events = st.builds(lambda wanted, kind: wanted | kind, st.sampled_from([POLLIN, 0, POLLIN | 0x2]), kinds)
ACTIONS = ["add", "add", "modify", "delete", "write", "write", "read", "close", "wait"]
steps = st.lists(st.builds(Step, st.sampled_from(ACTIONS), st.integers(0, PIPES - 1), events), max_size=20)


def epoll_of(opened: FileDescription) -> Epoll:
    assert isinstance(opened.file, Epoll)
    return opened.file


class Ours:
    def __init__(self, vfs: Vfs) -> None:
        self.pipes = [make_pipe(vfs) for _ in range(PIPES)]
        self.opened = new_epoll(vfs)
        self.epoll = epoll_of(self.opened)

    def do(self, step: Step) -> object:
        reading, writing = self.pipes[step.pipe]

        def control(operation: int) -> None:
            self.epoll.control(operation, step.pipe, reading, step.events, step.pipe)

        calls: dict[str, Callable[[], object]] = {
            "add": lambda: control(EPOLL_CTL_ADD),
            "modify": lambda: control(EPOLL_CTL_MOD),
            "delete": lambda: control(EPOLL_CTL_DEL),
            "write": lambda: writing.write(b"xy"),
            "read": lambda: read(reading, 2),
            "close": writing.close,
            "wait": lambda: sorted((data, now) for now, data in self.epoll.ready(10)),
        }
        try:
            return calls[step.action]()
        except KernelError as error:
            return error.errno


class Kernels:
    def __init__(self) -> None:
        self.pipes = [os.pipe() for _ in range(PIPES)]
        for reading, _ in self.pipes:
            os.set_blocking(reading, False)
        self.epoll = select.epoll()
        self.closed: set[int] = set()

    def do(self, step: Step) -> object:
        reading, writing = self.pipes[step.pipe]
        numbers = {reading: number for number, (reading, _) in enumerate(self.pipes)}

        def close() -> None:
            self.closed.add(writing)
            os.close(writing)

        calls: dict[str, Callable[[], object]] = {
            "add": lambda: self.epoll.register(reading, step.events),
            "modify": lambda: self.epoll.modify(reading, step.events),
            "delete": lambda: self.epoll.unregister(reading),
            "write": lambda: os.write(writing, b"xy"),
            "read": lambda: os.read(reading, 2),
            "close": close,
            "wait": lambda: sorted((numbers[found], now) for found, now in self.epoll.poll(0)),
        }
        try:
            return calls[step.action]()
        except OSError as error:
            return error.errno

    def end(self) -> None:
        self.epoll.close()
        for descriptor in {end for pipe in self.pipes for end in pipe} - self.closed:
            os.close(descriptor)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(steps=steps)
@example(steps=[Step("add", 0, POLLIN | EPOLLONESHOT), Step("write", 0, 0), Step("wait", 0, 0), Step("wait", 0, 0)])
def test_levels_are_reported_as_the_kernel_does(vfs: Vfs, steps: list[Step]) -> None:
    ours, kernels = Ours(vfs), Kernels()
    closed: set[int] = set()
    for step in steps:
        if step.action in {"write", "close"} and step.pipe in closed:
            continue
        if step.action == "close":
            closed.add(step.pipe)
        assert ours.do(step) == kernels.do(step), step
    kernels.end()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(steps=steps)
def test_no_edge_is_missed_that_the_kernel_reports(vfs: Vfs, steps: list[Step]) -> None:
    ours, kernels = Ours(vfs), Kernels()
    closed: set[int] = set()
    for each in steps:
        step = each._replace(events=each.events | EPOLLET)
        if step.action in {"write", "close"} and step.pipe in closed:
            continue
        if step.action == "close":
            closed.add(step.pipe)
        found, wanted = ours.do(step), kernels.do(step)
        if step.action == "wait":
            assert isinstance(found, list)
            assert isinstance(wanted, list)
            assert set(wanted) <= set(found)
        else:
            assert found == wanted
    kernels.end()


def test_an_edge_is_reported_once_until_more_comes(vfs: Vfs) -> None:
    reading, writing = make_pipe(vfs)
    epoll = epoll_of(new_epoll(vfs))
    epoll.control(EPOLL_CTL_ADD, 0, reading, POLLIN | EPOLLET, 7)
    assert epoll.ready(10) == []
    writing.write(b"one")
    assert epoll.ready(10) == [(POLLIN, 7)]
    assert epoll.ready(10) == []
    read(reading, 1)
    assert epoll.ready(10) == []
    writing.write(b"more")
    assert epoll.ready(10) == [(POLLIN, 7)]
    writing.close()
    assert epoll.ready(10) == [(POLLIN | POLLHUP, 7)]
    assert epoll.ready(10) == []


def test_those_that_were_reported_come_last_next_time(vfs: Vfs) -> None:
    epoll = epoll_of(new_epoll(vfs))
    for number in range(3):
        epoll.control(EPOLL_CTL_ADD, number, new_eventfd(vfs, 1), POLLIN, number)
    assert [data for _ in range(4) for _, data in epoll.ready(2)] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_file_leaves_with_its_last_descriptor(vfs: Vfs) -> None:
    reading, writing = make_pipe(vfs)
    opened = new_epoll(vfs)
    epoll = epoll_of(opened)
    epoll.control(EPOLL_CTL_ADD, 3, reading, POLLIN, 1)
    writing.write(b"x")
    reading.hold().close()
    assert epoll.ready(1) == [(POLLIN, 1)]
    assert opened.poll() == READABLE
    reading.close()
    assert epoll.ready(1) == []
    assert opened.poll() == 0


def test_what_cannot_be_waited_for_is_refused(vfs: Vfs) -> None:
    opened = new_epoll(vfs)
    epoll, event = epoll_of(opened), new_eventfd(vfs, 0)
    for device in MEMORY_DEVICES:
        vfs.devices.register_chrdev(device)
    for path, errno in ((b"/tmp/f", EPERM), (b"/dev/null", EPERM), (b"/dev/zero", EPERM), (b"/dev/urandom", None)):
        file = open_file(vfs, path, O_RDWR | O_CREAT)
        assert errno_of(lambda file=file: epoll.control(EPOLL_CTL_ADD, 5, file, POLLIN)) == errno  # type: ignore[misc]
    assert errno_of(lambda: epoll.control(EPOLL_CTL_ADD, 6, open_file(vfs, b"/tmp"), POLLIN)) == EPERM
    assert errno_of(lambda: epoll.control(EPOLL_CTL_ADD, 1, opened, POLLIN)) == EINVAL
    assert errno_of(lambda: epoll.control(EPOLL_CTL_MOD, 1, event, POLLIN)) == ENOENT
    epoll.control(EPOLL_CTL_ADD, 1, event, POLLIN)
    assert errno_of(lambda: epoll.control(EPOLL_CTL_ADD, 1, event, POLLIN)) == EEXIST
    epoll.control(EPOLL_CTL_ADD, 2, event, POLLIN)
    assert errno_of(lambda: epoll.control(EPOLL_CTL_MOD, 1, event, EPOLLEXCLUSIVE)) == EINVAL
    assert errno_of(lambda: epoll.control(9, 1, event, POLLIN)) == EINVAL
    assert errno_of(lambda: read(opened)) == errno_of(lambda: opened.write(b"x")) == EINVAL


def test_epolls_wait_for_epolls_but_not_in_a_circle(vfs: Vfs) -> None:
    chain = [new_epoll(vfs) for _ in range(6)]
    event = new_eventfd(vfs, 1)
    epoll_of(chain[0]).control(EPOLL_CTL_ADD, 0, event, POLLIN, 9)
    for inner, outer in pairwise(chain[:4]):
        epoll_of(outer).control(EPOLL_CTL_ADD, 0, inner, POLLIN, 1)
    assert epoll_of(chain[3]).ready(1) == [(POLLIN, 1)]
    assert errno_of(lambda: epoll_of(chain[0]).control(EPOLL_CTL_ADD, 1, chain[3], POLLIN)) == ELOOP
    epoll_of(chain[4]).control(EPOLL_CTL_ADD, 0, chain[3], POLLIN)
    assert errno_of(lambda: epoll_of(chain[5]).control(EPOLL_CTL_ADD, 0, chain[4], POLLIN)) == ELOOP
    read(event, 8)
    assert epoll_of(chain[3]).ready(1) == []


def test_the_structure_is_that_of_s390() -> None:
    assert EPOLL_EVENT.pack(1, 2).hex() == "00000001" + "00000000" + "0000000000000002"


def test_a_counter_is_taken_as_a_whole_or_one_by_one(vfs: Vfs) -> None:
    counter, semaphore = new_eventfd(vfs, 3, O_NONBLOCK), new_eventfd(vfs, 2, EFD_SEMAPHORE)
    assert counter.flags & O_NONBLOCK
    assert counter.write((4).to_bytes(8)) == 8
    assert read(counter) == (7).to_bytes(8)
    assert errno_of(lambda: read(counter)) == EAGAIN
    assert [read(semaphore, 8) for _ in range(2)] == [(1).to_bytes(8)] * 2
    assert errno_of(lambda: read(semaphore)) == EAGAIN
    assert counter.poll() == WRITABLE
    counter.write(((1 << 64) - 2).to_bytes(8))
    assert counter.poll() == READABLE
    assert errno_of(lambda: counter.write((1).to_bytes(8))) == EAGAIN
    for wrong in (bytes(7), b"\xff" * 8):
        assert errno_of(lambda wrong=wrong: counter.write(wrong)) == EINVAL  # type: ignore[misc]
    assert errno_of(lambda: read(counter, 7)) == EINVAL
    assert errno_of(lambda: new_eventfd(vfs, 0, O_APPEND)) == EINVAL


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1000

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ended(timer: TimerFile) -> int | None:
    buffer = memoryview(bytearray(8))
    try:
        assert timer.read(0, buffer) == 8
    except KernelError as error:
        assert error.errno == EAGAIN
        return None
    return int.from_bytes(buffer)


def test_a_timer_ends_once(clock: Clock) -> None:
    timer = TimerFile(clock)
    assert (timer.poll(), timer.alarm_seconds(), ended(timer)) == (0, None, None)
    assert timer.set(TimerSetting(0, 500)) == TimerSetting()
    assert timer.alarm_seconds() == pytest.approx(500e-9)
    clock.now_ns += 400
    assert (timer.poll(), timer.get()) == (0, TimerSetting(0, 100))
    clock.now_ns += 100
    assert (timer.poll(), timer.alarm_seconds(), timer.get()) == (READABLE, 0, TimerSetting())
    assert (ended(timer), ended(timer), timer.alarm_seconds()) == (1, None, None)


def test_a_timer_ends_again_and_again(clock: Clock) -> None:
    timer = TimerFile(clock)
    timer.set(TimerSetting(100, 1500), TFD_TIMER_ABSTIME)
    clock.now_ns = 1730
    assert timer.get() == TimerSetting(100, 70)
    assert (ended(timer), ended(timer)) == (3, None)
    assert timer.set(TimerSetting()) == TimerSetting(100, 70)
    clock.now_ns += 1000
    assert (ended(timer), timer.get()) == (None, TimerSetting())


def test_a_timer_wakes_an_epoll(vfs: Vfs, clock: Clock) -> None:
    timer, opened = new_timerfd(vfs, 1), new_epoll(vfs)
    assert isinstance(timer.file, TimerFile)
    timer.file._clock = clock
    epoll_of(opened).control(EPOLL_CTL_ADD, 0, timer, POLLIN | EPOLLET, 5)
    assert opened.alarm_seconds() is None
    timer.file.set(TimerSetting(10, 20))
    assert opened.alarm_seconds() == pytest.approx(20e-9)
    for _ in range(3):
        clock.now_ns += 20
        assert epoll_of(opened).ready(1) == [(POLLIN, 5)]
        assert epoll_of(opened).ready(1) == []


def test_wrong_timers_are_refused(vfs: Vfs) -> None:
    timer = new_timerfd(vfs, 0, O_NONBLOCK)
    assert isinstance(timer.file, TimerFile)
    file = timer.file
    assert errno_of(lambda: new_timerfd(vfs, 2)) == errno_of(lambda: new_timerfd(vfs, 1, O_APPEND)) == EINVAL
    assert (
        errno_of(lambda: file.set(TimerSetting(0, 1), 4)) == errno_of(lambda: file.set(TimerSetting(-1, 1))) == EINVAL
    )
    assert errno_of(lambda: read(timer, 7)) == errno_of(lambda: timer.write(bytes(8))) == EINVAL
    assert not timer.poll() & POLLOUT

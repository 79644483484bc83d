"""Work in threads, and tasks: what becomes of both when they are cancelled or fail."""

import asyncio
import gc
import socket
import threading
from collections.abc import Callable

import pytest
from loop_support import in_event_loop

from dcss.errors import LaunchError
from dcss.host.aio import PacketReader, TaskSet, in_thread, start_task, uninterrupted, wait_readable, wait_writable


class Work:
    """Work of a thread that ends when the test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.began = asyncio.Event()
        self.may_end = threading.Event()
        self.ended = False

    def __call__(self, answer: int) -> int:
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.may_end.wait(60)
        self.ended = True
        return answer


@in_event_loop
async def test_a_thread_returns_or_raises_what_its_function_does() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    assert await in_thread(int, "7") == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(fail)


@in_event_loop
async def test_whoever_is_cancelled_waits_for_its_thread() -> None:
    work = Work()
    task = asyncio.create_task(in_thread(work, 7, on_cancel=work.may_end.set))
    await work.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended


@in_event_loop
async def test_a_second_cancellation_waits_as_well() -> None:
    work = Work()
    task = asyncio.create_task(in_thread(work, 7))
    await work.began.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    work.may_end.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert work.ended


@in_event_loop
async def test_what_had_no_thread_is_never_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(LaunchError, match="can't start new thread; more processes are needed, see ulimit -u"):
            await in_thread(done.append, 1)
    await in_thread(done.append, 2)
    assert done == [2]


@in_event_loop
async def test_clean_up_goes_on_to_its_end() -> None:
    steps = []

    async def clean_up() -> None:
        for step in range(3):
            await asyncio.sleep(0.01)
            steps.append(step)

    task = asyncio.create_task(uninterrupted(clean_up()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert steps == [0, 1, 2]


async def _fail(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


@in_event_loop
async def test_what_a_task_fails_by_goes_to_the_loop_at_once() -> None:
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
    error = ZeroDivisionError()
    kept = start_task(_fail(error), "kept")
    await asyncio.wait([kept])
    await asyncio.sleep(0)
    assert seen == [error]


@in_event_loop
async def test_what_must_be_finished_is_finished_when_its_caller_has_gone() -> None:
    seen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
    tasks, go_on, done = TaskSet(), asyncio.Event(), []

    async def work(error: Exception | None) -> None:
        await go_on.wait()
        done.append(error)
        if error is not None:
            raise error

    fault = ZeroDivisionError()
    callers = [asyncio.create_task(tasks.finish(work(each), "work")) for each in (None, LaunchError("no"), fault)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert done == []
    go_on.set()
    await asyncio.sleep(0.01)
    assert len(done) == 3
    assert seen == [fault], "an error that only its caller could use, or a fault that nobody saw"


@in_event_loop
async def test_a_set_ends_its_tasks() -> None:
    tasks = TaskSet()
    forever = tasks.start(asyncio.Event().wait(), "forever")
    await tasks.close()
    assert forever.cancelled()


@in_event_loop
async def test_sockets_are_waited_for() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        await wait_writable(ours)
        waiting = asyncio.create_task(wait_readable(ours))
        await asyncio.sleep(0)
        assert not waiting.done()
        theirs.send(b"x")
        await waiting
        assert asyncio.get_running_loop().remove_reader(ours) is False


class CountedLoop:
    """Counts how often the running event loop is told of a socket to read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        loop = asyncio.get_running_loop()
        for name in ("add_reader", "remove_reader"):
            monkeypatch.setattr(loop, name, self._counted(name, getattr(loop, name)))

    def _counted(self, name: str, call: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: object) -> None:
            self.calls.append(name)
            call(*arguments)

        return counted


@in_event_loop
async def test_the_loop_is_told_once_of_a_socket_whose_packets_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedLoop(monkeypatch)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        with PacketReader(ours, 100) as packets:
            for number in range(5):
                waiting = asyncio.create_task(packets.receive())
                await asyncio.sleep(0)
                theirs.send(b"%d" % number)
                assert await waiting == b"%d" % number
            assert counted.calls == ["add_reader"]
        assert counted.calls == ["add_reader", "remove_reader"]


@in_event_loop
async def test_packets_that_nobody_waits_for_stay_in_order_and_do_not_keep_the_loop_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = CountedLoop(monkeypatch)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setblocking(False)
        with PacketReader(ours, 100) as packets:
            with theirs:
                for number in range(4):
                    theirs.send(b"%d" % number)
                assert await packets.receive() == b"0"
                async with asyncio.timeout(60):
                    while counted.calls[-1] != "remove_reader":
                        await asyncio.sleep(0)
                rest = [await packets.receive() for _ in range(3)]
            assert rest == [b"1", b"2", b"3"]
            assert await packets.receive() == b""
            assert await packets.receive() == b""


@in_event_loop
async def test_an_error_of_the_socket_is_raised_where_a_packet_is_wanted() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setblocking(False)
        ours.send(b"never read")
        theirs.close()  # which resets the connection
        with PacketReader(ours, 100) as packets, pytest.raises(ConnectionResetError):
            await packets.receive()


@in_event_loop
async def test_a_receiver_that_was_cancelled_may_receive_again() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        with PacketReader(ours, 100) as packets:
            waiting = asyncio.create_task(packets.receive())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            theirs.send(b"later")
            assert await packets.receive() == b"later"


@in_event_loop
async def test_an_error_that_nobody_waits_for_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.setblocking(False)
        with PacketReader(ours, 100) as packets:
            theirs.send(b"first")
            ours.send(b"never read")
            assert await packets.receive() == b"first"
            theirs.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        del packets
        gc.collect()
    assert not caplog.records

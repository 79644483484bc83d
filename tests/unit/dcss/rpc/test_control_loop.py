"""The event loop: what is ready, what is due, and descriptors that change hands within one turn."""

import os
import socket
import time
from functools import partial

from dcss.rpc.loop import READ, WRITE, Loop


def test_only_what_is_ready_is_called() -> None:
    loop, heard = Loop(), []
    ours, theirs = socket.socketpair()
    idle, other = socket.socketpair()
    loop.watch(ours, lambda: heard.append(ours.recv(10)))
    loop.watch(idle, lambda: heard.append(b"idle"))
    theirs.send(b"x")
    loop.turn(1)
    loop.turn(0)
    assert heard == [b"x"]
    loop.watch(ours, lambda: heard.append(b"writable"), READ | WRITE)
    loop.turn(0)
    assert heard == [b"x", b"writable"]
    loop.forget(ours)
    loop.forget(ours)
    theirs.send(b"y")
    loop.turn(0)
    assert heard == [b"x", b"writable"]
    for sock in (ours, theirs, idle, other):
        sock.close()
    loop.forget(ours)  # closed: there is nothing to forget
    loop.close()


def test_a_descriptor_closed_in_the_same_turn_is_not_called() -> None:
    loop, heard = Loop(), []
    pairs = [socket.socketpair() for _ in range(2)]
    replaced: list[socket.socket] = []

    def first(index: int) -> None:
        heard.append(index)
        other = pairs[1 - index][0]
        number = other.fileno()
        loop.forget(other)
        other.close()
        again = socket.socket()
        assert again.fileno() == number
        loop.watch(again, lambda: heard.append(-1))
        replaced.append(again)

    for index, (ours, theirs) in enumerate(pairs):
        loop.watch(ours, partial(first, index))
        theirs.send(b"x")
    loop.turn(1)
    assert len(heard) == 1
    assert heard[0] >= 0
    for sock in [*replaced, *(sock for pair in pairs for sock in pair)]:
        sock.close()
    loop.close()


def test_timers_come_in_order_once_and_not_when_cancelled() -> None:
    loop, heard = Loop(), []
    loop.after(0.03, lambda: heard.append("late"))
    loop.after(0.01, lambda: heard.append("early"))
    cancelled = loop.after(0.0, lambda: heard.append("never"))
    cancelled.cancel()
    cancelled.cancel()
    began = time.monotonic()
    while len(heard) < 2:
        loop.turn(None)
    assert heard == ["early", "late"]
    assert 0.02 < time.monotonic() - began < 1
    loop.turn(0)
    assert heard == ["early", "late"]


def test_a_turn_waits_no_longer_than_it_is_told() -> None:
    loop = Loop()
    loop.after(60, lambda: None)
    began = time.monotonic()
    loop.turn(0.02)
    assert 0.015 < time.monotonic() - began < 1


def test_a_timer_may_set_the_next() -> None:
    loop, heard = Loop(), []

    def again() -> None:
        heard.append(time.monotonic())
        if len(heard) < 3:
            loop.after(0.005, again)

    loop.after(0.005, again)
    while len(heard) < 3:
        loop.turn(None)
    assert heard[2] - heard[0] >= 0.01


def test_what_an_action_raises_goes_to_the_caller() -> None:
    loop = Loop()
    read, write = os.pipe()
    with open(read, "rb") as reader, open(write, "wb") as writer:
        loop.watch(reader, lambda: print(1 / 0))
        writer.write(b"x")
        writer.flush()
        try:
            loop.turn(1)
        except ZeroDivisionError:
            return
    raise AssertionError("nothing was raised")

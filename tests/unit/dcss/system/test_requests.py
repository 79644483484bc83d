"""What a request does with a guest that does not listen."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from loop_support import in_event_loop
from system_support import guest as guest_plan

from dcss.errors import LaunchError
from dcss.host.aio import TaskSet
from dcss.rpc.connection import ClientConnection
from dcss.system import requests
from dcss.system.guest import Guest, State
from dcss.system.proof import Prover
from dcss.system.requests import Requests

BUSY = "busy, so its own counters are the last that it sent"


class DeafGuest:
    """A guest whose console is full of what it was asked before."""

    name, ready = "DEAF", True

    async def refresh_counters(self) -> None:
        raise LaunchError("guest DEAF: its console takes nothing")


class SlowGuest:
    """A guest that answers too late."""

    name, ready = "SLOW", True

    async def refresh_counters(self) -> None:
        await asyncio.Event().wait()


class GoodGuest:
    """A guest that answers."""

    name, ready = "GOOD", True

    async def refresh_counters(self) -> None:
        await asyncio.sleep(0)


@in_event_loop
async def test_measure_goes_on_without_guests_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def measure(limits: list[str]) -> list[str]:
        return limits

    monkeypatch.setattr(requests, "COUNTERS_SECONDS", 0.05)
    monkeypatch.setattr(requests, "to_document", lambda limits: {"limits": limits})
    guests = {guest.name: guest for guest in (DeafGuest(), SlowGuest(), GoodGuest())}
    tasks = TaskSet()
    system: Any = SimpleNamespace(
        guests=guests,
        tasks=tasks,
        cp=None,
    )
    prover: Any = SimpleNamespace(measure=measure)
    handler = Requests(system, prover, lambda: None).handlers()["measure"]
    answer = await handler(cast(ClientConnection, None), {})
    assert answer == {"limits": [f"guest DEAF: {BUSY}", f"guest SLOW: {BUSY}"]}
    await tasks.close()


@in_event_loop
async def test_a_guest_is_not_stopped_while_it_is_proved() -> None:
    guest = Guest(guest_plan("G"), State.READY)
    tasks = TaskSet()
    system: Any = SimpleNamespace(
        tasks=tasks,
        cp=None,
        supervisor=SimpleNamespace(guests={"G": guest}, stop=lambda each: each.enter(State.STOPPED)),
    )
    prover = Prover(system)
    handler = Requests(system, prover, lambda: None)
    async with prover.held_off():
        change = tasks.start(handler._change(guest, "stop"), "stop G")
        await asyncio.sleep(0.01)
        assert guest.state is State.READY
    await change
    assert guest.state is State.STOPPED
    await tasks.close()

"""What a request does with a guest that does not listen."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from cp_support import private_directories, unique_system
from loop_support import in_event_loop
from system_support import guest as guest_plan

from dcss.config.plan import SystemPlan
from dcss.cp.program import ControlProgram
from dcss.errors import LaunchError
from dcss.rpc.connection import ClientConnection
from dcss.system import requests
from dcss.system.guest import State
from dcss.system.instance import GuestInstance
from dcss.system.log import SystemLog
from dcss.system.proof import Prover
from dcss.system.requests import Requests
from dcss.system.state import SystemState
from dcss.system.supervisor import Supervisor

BUSY = "busy, so its own counters are the last that it sent"


class ListedSystem(SystemState):
    """A system of these guests, with a CP that nobody asks anything."""

    def __init__(self, *guests: Any) -> None:
        super().__init__(SystemPlan("none", (), (), Path("/none.yaml")), {})
        self.cp = cast(ControlProgram, None)
        self._guests = {guest.name: guest for guest in guests}

    @property
    def guests(self) -> Mapping[str, GuestInstance]:
        return self._guests


async def limits_only(_: Prover, limits: list[str]) -> list[str]:
    return limits


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
    monkeypatch.setattr(requests, "COUNTERS_SECONDS", 0.05)
    monkeypatch.setattr(requests, "to_document", lambda limits: {"limits": limits})
    system = ListedSystem(DeafGuest(), SlowGuest(), GoodGuest())
    monkeypatch.setattr(Prover, "measure", limits_only)
    handler = Requests(system, Prover(system), lambda: None).handlers()["measure"]
    answer = await handler(cast(ClientConnection, None), {})
    assert answer == {"limits": [f"guest DEAF: {BUSY}", f"guest SLOW: {BUSY}"]}
    await system.tasks.close()


@in_event_loop
async def test_a_guest_is_not_stopped_while_it_is_proved() -> None:
    system = ListedSystem()
    tasks = system.tasks
    with private_directories():
        cp = ControlProgram(unique_system())
        log = SystemLog(cp.lock.directory)
    plan = replace(system.plan, guests=(guest_plan("G"),))
    system.supervisor = Supervisor(plan, cp=cp, engines={}, tasks=tasks, log=log, on_settled=lambda _: None)
    guest = system.supervisor.guests["G"]
    guest.enter(State.READY)
    prover = Prover(system)
    handler = Requests(system, prover, lambda: None)
    async with prover.held_off():
        change = tasks.start(handler._change(guest, "stop"), "stop G")
        await asyncio.sleep(0.01)
        assert guest.state is State.READY
    await change
    assert guest.state is State.STOPPED
    await tasks.close()
    log.close()
    cp.close()

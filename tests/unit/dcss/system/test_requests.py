"""What a request does with a guest that does not listen."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from client_support import connected_client
from cp_support import private_directories, unique_system
from loop_support import in_event_loop
from statistics_support import unread_recorder
from system_support import guest as guest_plan

from dcss.config.plan import SystemPlan
from dcss.cp.program import ControlProgram
from dcss.errors import LaunchError
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
    """A system of these guests and a CP without segments; `close` ends all of it."""

    def __init__(self, *guests: Any) -> None:
        super().__init__(SystemPlan("none", (), (), Path("/none.yaml")), {})
        self._resources = ExitStack()
        self._resources.enter_context(private_directories())
        self.cp = self._resources.enter_context(closing(ControlProgram(unique_system())))
        self.log = self._resources.enter_context(closing(SystemLog(self.cp.lock.directory)))
        self.statistics = unread_recorder(self.plan, self.cp)
        self._guests = {guest.name: guest for guest in guests}

    async def close(self) -> None:
        await self.tasks.close()
        self._resources.close()

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
    async with connected_client() as client:
        answer = await handler(client, {})
    assert answer == {"limits": [f"guest DEAF: {BUSY}", f"guest SLOW: {BUSY}"]}
    await system.close()


@in_event_loop
async def test_a_guest_is_not_stopped_while_it_is_proved() -> None:
    system = ListedSystem()
    tasks = system.tasks
    plan = replace(system.plan, guests=(guest_plan("G"),))
    system.supervisor = Supervisor(
        plan, cp=system.cp, engines={}, tasks=tasks, log=system.log, on_settled=lambda _: None
    )
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
    await system.close()

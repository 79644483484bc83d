"""What CP answers on its control socket: each request of docs/control-protocol.md."""

import asyncio
import os
from collections.abc import Callable, Mapping

from dcss.cp.requests import absolute_path
from dcss.documents import to_document
from dcss.errors import ConfigError, LaunchError
from dcss.host.text import is_encodable
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments, Output
from dcss.rpc.server import Handler
from dcss.suggest import suggestion
from dcss.system.exec_options import exec_options
from dcss.system.guest import Guest
from dcss.system.instance import GuestInstance
from dcss.system.operator import operator_handlers
from dcss.system.proof import Prover
from dcss.system.state import SystemState
from dcss.system.status import guest_status, system_status

COUNTERS_SECONDS = 1.0  # for so long `measure` waits for guests that answer late
_NAMES_SHOWN = 8


class Requests:
    """The handlers of one system, each called with a client and the request's arguments.

    `take_down` is called when a client wants the system's end.
    """

    def __init__(self, system: SystemState, prover: Prover, take_down: Callable[[], None]) -> None:
        self._system, self._prover, self._take_down = system, prover, take_down

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by the request's name."""
        handlers: dict[str, Handler] = {
            "ping": self._ping,
            "ps": self._ps,
            "verify": self._verify,
            "measure": self._measure,
            "exec": self._exec,
            "guest": self._guest,
            "down": self._down,
            **operator_handlers(self._system.cp, self._system.tasks),
        }
        return {name: self._counted(handler) for name, handler in handlers.items()}

    def _counted(self, handler: Handler) -> Handler:
        async def counted(client: ClientConnection, arguments: Arguments) -> Arguments:
            self._system.statistics.requested()
            return await handler(client, arguments)

        return counted

    async def _ping(self, _client: ClientConnection, _: Arguments) -> Arguments:
        return {"system": self._system.plan.name, "pid": os.getpid()}

    async def _ps(self, _client: ClientConnection, _: Arguments) -> Arguments:
        return to_document(system_status(self._system))

    async def _verify(self, _client: ClientConnection, arguments: Arguments) -> Arguments:
        path = arguments.get("evidence")
        if path is not None and not isinstance(path, str):
            raise ConfigError(f"verify: evidence: found {path!r}, wanted an absolute path")
        proof = self._prover.verify(None if path is None else absolute_path(path, "verify: evidence"))
        return to_document(await self._system.tasks.finish(proof, "verify"))

    async def _measure(self, _client: ClientConnection, arguments: Arguments) -> Arguments:
        again = arguments.get("again", False)
        if not isinstance(again, bool):
            raise ConfigError(f"measure: again: found {again!r}, wanted true or false")
        limits = await self._refresh_counters(await self._prover.sleeping() if again else frozenset())
        measured = self._prover.sample(limits) if again else self._prover.measure(limits)
        return to_document(await self._system.tasks.finish(measured, "measure"))

    async def _refresh_counters(self, sleeping: frozenset[str]) -> list[str]:
        """Have all guests that are ready and do not sleep send their counters; return a line for each that is late."""
        asked: dict[asyncio.Task[bool], GuestInstance] = {
            self._system.tasks.start(self._refresh(guest), f"counters of {guest.name}"): guest
            for guest in self._system.guests.values()
            if guest.ready and guest.name not in sleeping
        }
        if asked:  # one that answers late answers for the next time
            await asyncio.wait(asked, timeout=COUNTERS_SECONDS)
        return [
            f"guest {guest.name}: busy, so its own counters are the last that it sent"
            for task, guest in asked.items()
            if guest.ready and not (task.done() and task.result())
        ]

    async def _refresh(self, guest: GuestInstance) -> bool:
        """Have a guest send its counters; return False where it cannot be asked now."""
        try:
            await guest.refresh_counters()
        except LaunchError:  # a command is running in it, or it has not read what it was asked before
            return False
        self._system.statistics.counters_changed(guest)
        return True

    async def _exec(self, client: ClientConnection, arguments: Arguments) -> Arguments:
        guest, words = self._find(arguments), arguments.get("command")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ConfigError("exec: command: wanted a list of words, at least one")
        if not all(map(is_encodable, words)):
            raise ConfigError("exec: command: found a NUL or half a character in a word, wanted what bytes can hold")
        if guest.instance is None:
            raise LaunchError(f"guest {guest.name}: exec needs a guest that is ready; it is {guest.state}")

        async def output(is_error: bool, data: bytes) -> None:
            await client.send_output(Output("stderr" if is_error else "stdout", data))

        options = exec_options(client, arguments)
        return {"exit_status": await guest.instance.exec(words, output, options)}

    async def _guest(self, _client: ClientConnection, arguments: Arguments) -> Arguments:
        guest, action = self._find(arguments), arguments.get("action")
        if not isinstance(action, str) or action not in {"start", "stop", "restart"}:
            raise ConfigError(f"guest: action: found {action!r}, wanted start, stop or restart")
        await self._system.tasks.finish(self._change(guest, action), f"{action} {guest.name}")
        return to_document(guest_status(self._system, guest))

    async def _change(self, guest: Guest, action: str) -> None:
        """Stop and start a guest, and wait each time until it has settled, which one to start may have done already."""
        supervisor = self._system.supervisor
        if action in {"stop", "restart"}:
            async with self._prover.held_off():  # a guest that ends while it is examined fails the whole proof
                settled = guest.next_settled()
                supervisor.stop(guest)
                await settled
        if action in {"start", "restart"}:
            if guest.lives and guest.settled:
                return
            settled = guest.next_settled()
            if not guest.lives:  # another client may have started it
                supervisor.start(guest)
            await settled

    async def _down(self, _client: ClientConnection, _: Arguments) -> Arguments:
        living = sum(guest.lives for guest in self._system.supervisor.guests.values())
        self._take_down()
        return {"system": self._system.plan.name, "pid": os.getpid(), "guests": living}

    def _find(self, arguments: Arguments) -> Guest:
        guests, name = self._system.supervisor.guests, arguments.get("guest")
        guest = guests.get(name) if isinstance(name, str) else None
        if guest is None:
            shown = ", ".join(list(guests)[:_NAMES_SHOWN]) + (", …" if len(guests) > _NAMES_SHOWN else "")
            near = suggestion(str(name), guests)
            raise ConfigError(f"guest: found {name!r}, wanted one of system {self._system.plan.name}: {shown}{near}")
        return guest

"""What CP answers on its control socket: each request of docs/control-protocol.md."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from dcss.abi import console
from dcss.documents import to_document
from dcss.errors import ConfigError, LaunchError
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments, Output
from dcss.rpc.server import Handler
from dcss.system.guest import Member
from dcss.system.operator import operator_handlers
from dcss.system.proof import measure_system, verify_system
from dcss.system.status import guest_status, system_status

if TYPE_CHECKING:
    from dcss.abi.console import Counters
    from dcss.system.instance import Guest
    from dcss.system.system import System

_COUNTERS_SECONDS = 1.0  # for so long `measure` waits for guests that answer late
_LOOK_SECONDS = 0.005
_NAMES_SHOWN = 8


class Requests:
    """The handlers of one system, each called with a client and the request's arguments."""

    def __init__(self, system: "System") -> None:
        self._system = system

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handlers by the request's name."""
        return {
            "ping": self._ping,
            "ps": self._ps,
            "verify": self._verify,
            "measure": self._measure,
            "exec": self._exec,
            "guest": self._guest,
            "down": self._down,
            **operator_handlers(self._system.cp, self._system.jobs.run),
        }

    def _ping(self, client: ClientConnection, _: Arguments) -> None:
        client.finish({"system": self._system.plan.name, "pid": os.getpid()})

    def _ps(self, client: ClientConnection, _: Arguments) -> None:
        client.finish(to_document(system_status(self._system)))

    def _verify(self, client: ClientConnection, arguments: Arguments) -> None:
        path = arguments.get("evidence")
        if path is not None and not (isinstance(path, str) and Path(path).is_absolute()):
            raise ConfigError(f"verify: evidence: found {path!r}, wanted an absolute path")
        client.finish(to_document(verify_system(self._system, None if path is None else Path(path))))

    def _measure(self, client: ClientConnection, _: Arguments) -> None:
        limits, asked = [], []
        for guest in self._system.guests.values():
            if not guest.ready:
                continue
            if guest.exec_sink is not None:
                limits.append(_stale(guest))
                continue
            try:
                guest.request_counters()
            except LaunchError:  # it has not read what it was asked before
                limits.append(_stale(guest))
                continue
            asked.append((guest, guest.counters))
        self._measure_when_told(client, asked, limits, monotonic() + _COUNTERS_SECONDS)

    def _measure_when_told(
        self,
        client: ClientConnection,
        asked: Sequence[tuple["Guest", "Counters | None"]],
        limits: list[str],
        until: float,
    ) -> None:
        """Answer `measure` once each guest that lives has books that are not those of before, or the time is over."""
        silent = [(guest, before) for guest, before in asked if guest.ready and guest.counters is before]
        if silent and monotonic() < until:
            self._system.loop.after(
                _LOOK_SECONDS,
                lambda: client.attempt(lambda: self._measure_when_told(client, silent, limits, until)),
            )
            return
        limits += [_stale(guest) for guest, _ in silent]
        client.finish(to_document(measure_system(self._system, limits)))

    def _exec(self, client: ClientConnection, arguments: Arguments) -> None:
        member, words = self._member(arguments), arguments.get("command")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise ConfigError("exec: command: wanted a list of words, at least one")
        if member.guest is None:
            raise LaunchError(f"guest {member.name}: exec needs a guest that is ready; it is {member.state}")

        def heard(kind: bytes, data: bytes) -> None:
            if kind == console.STATUS:
                client.finish({"exit_status": console.EXIT_STATUS.unpack(data)[0]})
                return
            client.output(Output("stdout" if kind == console.STDOUT else "stderr", data))
            if client.congested and client.drained is None:
                client.drained = self._system.roster.hold(member)

        member.guest.start_exec(words, heard)
        client.gone = member.guest.cancel_exec

    def _guest(self, client: ClientConnection, arguments: Arguments) -> None:
        member, action = self._member(arguments), arguments.get("action")
        if action == "stop":
            member.waiters.append(lambda: client.finish(to_document(guest_status(self._system, member))))
            self._system.roster.stop(member)
        elif action == "start":
            if member.lives:
                raise LaunchError(f"guest {member.name}: it is {member.state} already")
            self._start(client, member)
        elif action == "restart":
            member.waiters.append(lambda: self._start(client, member))
            self._system.roster.stop(member)
        else:
            raise ConfigError(f"guest: action: found {action!r}, wanted start, stop or restart")

    def _start(self, client: ClientConnection, member: Member) -> None:
        member.waiters.append(lambda: client.finish(to_document(guest_status(self._system, member))))
        if not member.lives:
            self._system.roster.start(member)

    def _down(self, client: ClientConnection, _: Arguments) -> None:
        living = sum(member.lives for member in self._system.roster.members.values())
        client.finish({"system": self._system.plan.name, "pid": os.getpid(), "guests": living})
        self._system.ending = True

    def _member(self, arguments: Arguments) -> Member:
        members, name = self._system.roster.members, arguments.get("guest")
        member = members.get(name) if isinstance(name, str) else None
        if member is None:
            shown = ", ".join(list(members)[:_NAMES_SHOWN]) + (", …" if len(members) > _NAMES_SHOWN else "")
            raise ConfigError(f"guest: found {name!r}, wanted one of system {self._system.plan.name}: {shown}")
        return member


def _stale(guest: "Guest") -> str:
    return f"guest {guest.name}: busy, so that its own books are the last that it told"

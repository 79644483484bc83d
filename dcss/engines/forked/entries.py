"""Start guests as they are to be started: in full, or as clones of the first one of their entry.

Guests whose specifications differ in nothing but their names are one entry. The first boots in full and leaves a
template (dcss.engines.forked.template); those that are asked for meanwhile wait for that.
"""

import os
import select
import selectors
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from errno import ENOMEM
from time import monotonic
from typing import Protocol

from dcss.abi.console import Start
from dcss.engines.forked import template
from dcss.engines.forked.families import Child, Kind, open_child, send_message
from dcss.engines.forked.guest_process import Asked
from dcss.host.process import is_stopped
from dcss.host.rlimits import explain_fork
from vmguest.spec import CLONE, GuestSpec

FIRST = Start(cloned=False, reason="the first of its entry, from which the others are cloned")
_PATIENCE_SECONDS = 1.0
_ANSWER_SECONDS = 30.0  # they answer at once, on a machine that is not busy
_LOOK_SECONDS = 0.1  # after so long without an answer, a process that was stopped (SIGSTOP) is not waited for


@dataclass(slots=True, eq=False)
class Entry:
    """Guests that may be clones of one. `template` is its process id once there is one; `refusal` why there is none.

    `first` is the process of the guest that is to leave it.
    """

    key: tuple[object, ...]
    control: socket.socket | None = None
    first: int | None = None
    template: int | None = None
    refusal: str = ""
    waiting: list[Asked] = field(default_factory=list)


class Forker(Protocol):
    """Forks guests that boot in full; see dcss.engines.forked.guest_process.GuestForker."""

    def fork(self, asked: Asked, start: Start, template_control: int | None = None) -> tuple[int, int]:
        """Return the process id of a new guest, and a descriptor of it. Raises OSError."""
        ...


class TemplateLostError(Exception):
    """The template gave no answer, or the guest that was to leave one has gone."""


class NotForkedError(Exception):
    """A template could not fork a guest, and why."""


class Entries:
    """Starts guests for CP, which is told at `control`. What it waits for stands in `selector`."""

    def __init__(
        self,
        control: socket.socket,
        selector: selectors.BaseSelector,
        forker: Forker,
        end_orphans: Callable[[str], None],
    ) -> None:
        self._control, self._selector, self._forker = control, selector, forker
        self._end_orphans = end_orphans  # GuestFamilies.end_orphans
        self._entries: dict[tuple[object, ...], Entry] = {}

    def start(self, spec: GuestSpec, sent: Sequence[int]) -> None:
        """Start a guest, or report why it cannot be started: others can be. Its descriptors are closed."""
        asked = Asked(spec, sent)
        if spec.boot != CLONE:
            self._start_in_full(asked, Start(cloned=False))
            return
        entry = self._entries.setdefault(spec[1:], Entry(spec[1:]))
        if entry.refusal:
            self._start_in_full(asked, Start(cloned=False, reason=entry.refusal))
        elif entry.template is not None:
            self._clone(entry, asked)
        elif entry.control is not None:
            entry.waiting.append(asked)
        else:
            self._start_first(entry, asked)

    def heard(self, entry: Entry) -> None:
        """Take what came from the first guest of an entry, or from its template or a clone."""
        if entry.control is None:
            return  # it was left since
        try:
            kind, words = self._receive(entry, entry.control)
            if kind == template.READY:
                entry.control.send(template.FORK)  # and no process appears meanwhile that is not known
                kind, words = self._receive(entry, entry.control)
            if kind == template.REFUSED:
                entry.refusal = words
                self._leave(entry)
            elif kind == template.TEMPLATE:
                self._add_template(entry, int(words))
            else:
                self._leave(entry)
        except (OSError, ValueError, TemplateLostError):
            self._leave(entry)
        self._start_waiting(entry)

    @property
    def patience_seconds(self) -> float | None:
        """After how long `look_at_first` should be called, unless something is heard; None: never."""
        return _PATIENCE_SECONDS if any(entry.waiting for entry in self._entries.values()) else None

    def look_at_first(self) -> None:
        """Let nobody wait for a first guest that was stopped (SIGSTOP): who knows when it goes on."""
        for entry in [entry for entry in self._entries.values() if entry.waiting]:
            if entry.first is not None and is_stopped(entry.first):
                self._leave(entry)
                self._start_waiting(entry)

    def _start_waiting(self, entry: Entry) -> None:
        waiting, entry.waiting = entry.waiting, []
        for asked in waiting:
            self.start(*asked)

    def _start_first(self, entry: Entry, asked: Asked) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            entry.first = self._start_in_full(asked, FIRST, theirs.fileno())
            if entry.first is not None:
                entry.control = ours
                self._selector.register(ours, selectors.EVENT_READ, entry)
            else:
                ours.close()

    def _start_in_full(self, asked: Asked, start: Start, template_control: int | None = None) -> int | None:
        return self._report(asked, lambda: self._forker.fork(asked, start, template_control))

    def _clone(self, entry: Entry, asked: Asked) -> None:
        """Have the template forked; where it does not answer, begin anew with this guest."""
        assert entry.control is not None, "it has a template"
        try:
            socket.send_fds(entry.control, [asked.spec.name.encode()], asked.sent)
            kind, words = self._receive(entry, entry.control)
            differs = kind == template.DIFFERS  # what an earlier clone found
            while kind == template.DIFFERS:
                kind, words = self._receive(entry, entry.control)
            number = int(words)
        except (OSError, ValueError, TemplateLostError):
            self._leave(entry)
            self._end_orphans(asked.spec.name)  # the template may have forked it before it was stopped
            self.start(*asked)
            return
        self._report(asked, lambda: _forked(kind, number, entry.template or 0))
        if differs:
            self._leave(entry)

    def _report(self, asked: Asked, fork: Callable[[], tuple[int, int]]) -> int | None:
        """Fork a guest and tell CP of it, or why it cannot be; return its process id. Its descriptors are closed."""
        name = asked.spec.name
        try:
            pid, pidfd = fork()
        except (MemoryError, OSError, NotForkedError) as error:
            send_message(self._control, {"event": "refused", "name": name, "reason": _reason(error)}, None)
            return None
        finally:
            for descriptor in asked.sent:
                os.close(descriptor)
        self._selector.register(pidfd, selectors.EVENT_READ, Child(name, pid, Kind.GUEST))
        send_message(self._control, {"event": "started", "name": name, "pid": pid}, pidfd)
        return pid

    def _add_template(self, entry: Entry, pid: int) -> None:
        try:
            pidfd = open_child(pid)
        except OSError:
            self._leave(entry)
            return
        self._selector.register(pidfd, selectors.EVENT_READ, Child("", pid, Kind.TEMPLATE))
        entry.template = pid
        send_message(self._control, {"event": "template", "pid": pid}, None)

    def _leave(self, entry: Entry) -> None:
        """Have nothing more to do with an entry's first guest and its template; the next guest is the first one."""
        if entry.control is not None:
            self._selector.unregister(entry.control)
            entry.control.close()
            entry.control = None
        if entry.template is not None:
            kill_child(self._selector, entry.template)
            entry.template = None
        if not entry.refusal:
            self._entries.pop(entry.key, None)

    @staticmethod
    def _receive(entry: Entry, control: socket.socket) -> tuple[bytes, str]:
        """Return the kind of the next packet, and the words behind it. Raises TemplateLostError."""
        answering = entry.template if entry.template is not None else entry.first
        deadline = monotonic() + _ANSWER_SECONDS
        readable = select.poll()
        readable.register(control, select.POLLIN)
        while not readable.poll(_LOOK_SECONDS * 1000):
            if monotonic() >= deadline or (answering is not None and is_stopped(answering)):
                raise TemplateLostError
        try:
            packet = control.recv(template.PACKET_BYTES)
        except OSError as error:
            raise TemplateLostError from error
        if not packet:
            raise TemplateLostError
        kind, _, words = packet.partition(b" ")
        return kind, words.decode(errors="replace")


def kill_child(selector: selectors.BaseSelector, pid: int) -> None:
    """Kill a child that stands in the selector, unless it has ended: then its number may be another process's."""
    for key in selector.get_map().values():
        if isinstance(key.data, Child) and key.data.pid == pid:
            signal.pidfd_send_signal(key.fd, signal.SIGKILL)


def _forked(kind: bytes, number: int, template_pid: int) -> tuple[int, int]:
    """Return the process of a guest that a template forked. Raises NotForkedError, OSError."""
    if kind != template.FORKED:
        raise NotForkedError(explain_fork(OSError(number, os.strerror(number)), template_pid))
    return number, open_child(number)


def _reason(error: MemoryError | OSError | NotForkedError) -> str:
    """Return why a guest could not be forked."""
    match error:
        case NotForkedError():
            return str(error)
        case OSError():
            return explain_fork(error)
        case _:
            return explain_fork(OSError(ENOMEM, os.strerror(ENOMEM)))

"""The fork server's children: guests, and what guests that ended have left, which is ended too.

Each guest adopts what its processes leave (PR_SET_CHILD_SUBREAPER), and the server what guests leave. So every child of
the server that is no guest was left by one, whatever it did to its name, session, group or signals. A child that has
not been waited for keeps its number: killing it by that number hits no other.
"""

import array
import json
import os
import selectors
import signal
import socket
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from dcss.host.process import child_pids


class Kind(Enum):
    """What a child of the server is."""

    GUEST = "guest"
    LEFT = "left"  # by a guest's process that has ended
    TEMPLATE = "template"  # from which guests are cloned; it has no name


class Child(NamedTuple):
    """A process of guest `name`, or a template."""

    name: str
    pid: int
    kind: Kind


class GuestFamilies:
    """Waits for the server's children and reports a guest's end to CP once nothing that it left is there."""

    def __init__(self, control: socket.socket, selector: selectors.BaseSelector) -> None:
        self._control, self._selector = control, selector
        self._ended: dict[str, dict[str, object]] = {}  # the report, which waits for what the guest left

    def process_ended(self, key: selectors.SelectorKey) -> None:
        """Wait for a child whose pidfd says that it has ended, and end what it leaves."""
        child: Child = key.data
        self._selector.unregister(key.fd)
        os.close(key.fd)
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        if child.kind is Kind.TEMPLATE:
            send_message(self._control, {"event": "template ended", "pid": child.pid}, None)
        if child.kind is Kind.GUEST:
            self._ended[child.name] = {"event": "ended", "name": child.name, "pid": child.pid, "status": status}
        self.end_orphans(child.name)
        remaining = {each.name for each in self._children()}
        for name in [name for name in self._ended if name not in remaining]:
            send_message(self._control, self._ended.pop(name), None)

    def end_orphans(self, name: str) -> None:
        """Kill what the process that ended has left: it became the server's child at that moment."""
        known = {each.pid for each in self._children()}
        for pid in child_pids():
            if pid in known:
                continue
            os.kill(pid, signal.SIGKILL)
            try:
                self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, Child(name, pid, Kind.LEFT))
            except OSError:  # no descriptor is left for it
                os.waitpid(pid, 0)

    def _children(self) -> list[Child]:
        return [key.data for key in self._selector.get_map().values() if isinstance(key.data, Child)]


def open_child(pid: int) -> int:
    """Return a descriptor of a child; kill it where there is none left for it, and raise OSError."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def end_children() -> None:
    """Kill all children, and theirs, which this process adopts; wait until none is left."""
    with suppress(ChildProcessError):
        while True:
            for pid in child_pids():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def send_message(control: socket.socket, message: dict[str, object], descriptor: int | None) -> None:
    """Send CP a message, with a descriptor or without one; a CP that has gone misses nothing."""
    ancillary = []
    if descriptor is not None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    with suppress(BrokenPipeError, ConnectionResetError):  # the next look at the socket says so
        control.sendmsg([json.dumps(message).encode()], ancillary)

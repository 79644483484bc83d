"""CP's end of the fork server: starts it before anything is published, asks it for guests, hears how they end."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from dcss.errors import LaunchError
from vmguest.bootstrap import GuestSpec
from vmguest.hostmem import Reservation

PACKET_BYTES = 1 << 16
_ROOT = Path(__file__).resolve().parents[2]
# Neither site nor the environment can put anything into a guest: only the standard library and this source tree.
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from dcss.launch.forkserver import main; main()"


class Started(NamedTuple):
    """A guest process exists; the descriptor refers to it for good, whatever becomes of its number."""

    name: str
    pid: int
    pidfd: int


class Ended(NamedTuple):
    """A guest process ended: an exit status, or minus the signal's number."""

    name: str
    pid: int
    status: int


class ForkServer:
    """A running fork server; `control` is readable when `events` has something to tell."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = _PROGRAM.format(root=str(_ROOT))
            command = [sys.executable, "-I", "-S", "-c", program, str(theirs.fileno()), str(os.getpid())]
            # A session of its own: Ctrl-C reaches CP alone, which then takes its guests down in order.
            self._process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.control = ours
        self._reservation: Reservation | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def reservation(self) -> Reservation:
        """The addresses that every guest has reserved; waits for the server's first word."""
        if self._reservation is None:
            message, _ = self._receive()
            self._reservation = Reservation(*message["reservation"])
        return self._reservation

    def spawn(self, spec: GuestSpec, port: socket.socket, console: socket.socket, log: int) -> None:
        """Ask for a guest with these descriptors. Raises LaunchError where the server is gone."""
        _ = self.reservation
        try:
            socket.send_fds(self.control, [spec.pack()], [port.fileno(), console.fileno(), log])
        except OSError as error:
            raise LaunchError(f"fork server (process {self.pid}): {error}; no guest can be started") from error

    def event(self) -> Started | Ended:
        """Wait for and return the next event. Raises LaunchError where the server is gone."""
        message, descriptors = self._receive()
        name, pid = str(message["name"]), int(message["pid"])
        if message["event"] == "started":
            return Started(name, pid, descriptors[0])
        return Ended(name, pid, int(message["status"]))

    def close(self) -> None:
        """End the server and with it every guest that still runs."""
        self.control.close()
        self._process.kill()
        self._process.wait()

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self.control, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise LaunchError(f"fork server (process {self.pid}): {error}") from error
        if not packet:
            raise LaunchError(f"fork server (process {self.pid}) ended; its guests ended with it")
        return json.loads(packet), descriptors

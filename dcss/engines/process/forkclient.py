"""CP's end of the fork server: starts it before anything is published, asks it for guests, hears how they end."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dcss.engines.process.forkserver import PACKET_BYTES, pack_kill
from dcss.errors import LaunchError
from vmguest.bootstrap import GuestSpec
from vmguest.hostmem import Reservation

_ENDS_SECONDS = 1.0  # a process closes its sockets a moment before it can be waited for
_ROOT = Path(__file__).resolve().parents[3]
# Neither site nor the environment can put anything into a guest: only the standard library and this source tree.
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from dcss.engines.process.forkserver import main; main()"


class Started(NamedTuple):
    """A guest process exists; the descriptor refers to it for good, whatever becomes of its number.

    It is None where this process has no number left for one (EMFILE): the kernel leaves it out of the packet.
    """

    name: str
    pid: int
    pidfd: int | None


class Refused(NamedTuple):
    """A guest process could not be made, and why."""

    name: str
    reason: str


class Ended(NamedTuple):
    """A guest process ended: an exit status, or minus the signal's number."""

    name: str
    pid: int
    status: int


class ForkServer:
    """A running fork server; `control` is readable when `event` has something to tell. Its faults go to `log`."""

    def __init__(self, log: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = _PROGRAM.format(root=str(_ROOT))
            command = [sys.executable, "-I", "-S", "-c", program, str(theirs.fileno()), str(os.getpid())]
            # A session of its own: Ctrl-C reaches CP alone, which then takes its guests down in order.
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
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
        while self._reservation is None:
            self.event()
        return self._reservation

    def spawn(self, spec: GuestSpec, port: socket.socket, console: socket.socket, log: int) -> bool:
        """Ask for a guest with these descriptors; False where the server must first be heard, since its queue is full.

        Raises LaunchError where the server is gone, or the specification is too long for one packet, and OSError where
        the kernel has no memory for it.
        """
        _ = self.reservation
        packet = spec.pack()
        if len(packet) > PACKET_BYTES:
            raise LaunchError(
                f"guest {spec.name}: its mounts: and run: take {len(packet)} bytes, wanted at most {PACKET_BYTES}"
            )
        try:
            # Never waits: the server could be waiting for this process to hear it.
            socket.send_fds(self.control, [packet], [port.fileno(), console.fileno(), log], socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            raise self._gone(error) from error
        return True

    def kill(self, pid: int) -> bool:
        """Have the server kill a guest that this process has no descriptor of; False where its queue is full.

        Raises LaunchError where the server is gone.
        """
        try:
            self.control.send(pack_kill(pid), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            raise self._gone(error) from error
        return True

    def event(self) -> Started | Refused | Ended | None:
        """Wait for and return the next event, None for the server's first word. Raises LaunchError where it is gone."""
        message, descriptors = self._receive()
        if message["event"] == "hello":
            self._reservation = Reservation(*message["reservation"])
            return None
        name = str(message["name"])
        match message["event"]:
            case "started":
                return Started(name, int(message["pid"]), descriptors[0] if descriptors else None)
            case "refused":
                return Refused(name, str(message["reason"]))
            case _:
                return Ended(name, int(message["pid"]), int(message["status"]))

    def close(self) -> None:
        """End the server, and with it every guest that still runs: the kernel kills them all at once."""
        self.control.close()
        self._process.kill()
        self._process.wait()

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self.control, PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise self._gone(error) from error
        if not packet:
            raise self._gone(None)
        return json.loads(packet), descriptors

    def _gone(self, error: OSError | None) -> LaunchError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_SECONDS)
        status = self._process.returncode
        how = "" if status is None else f" by signal {-status}" if status < 0 else f" with status {status}"
        why = "" if error is None else f" ({error})"
        return LaunchError(f"fork server (process {self.pid}) ended{how}; its guests ended with it{why}")

"""A guest as the host sees it: its plan, its two sockets, its process, and what it said and how it ended."""

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

from dcss.abi import console
from dcss.abi.console import Counters, Verdict
from dcss.config.plan import GuestPlan
from dcss.errors import LaunchError
from dcss.results import GuestOutcome

LOG_TAIL_BYTES = 4096
_SIGNAL_BASE = 128  # a shell's status of a command that a signal ended


class ExecSink(Protocol):
    """Takes what a command in a guest writes, as it comes, and then its status, once."""

    def __call__(self, kind: bytes, data: bytes) -> None:
        """`kind` is O or E with bytes for stdout or stderr, or X with `dcss.abi.console.EXIT_STATUS`; X is the last."""
        ...


@dataclass(slots=True, eq=False)
class Guest:
    """One guest from its request to its end. `port` carries hypercalls, `console` what dcss.abi.console describes."""

    plan: GuestPlan
    port: socket.socket
    console: socket.socket
    log_path: Path
    started_at: float = field(default_factory=monotonic)
    pid: int | None = None
    pidfd: int | None = None
    verdict: Verdict | None = None
    counters: Counters | None = None  # the latest that it sent; its own word
    exit_status: int | None = None
    seconds: float = 0.0
    exec_sink: ExecSink | None = None

    @property
    def name(self) -> str:
        """The guest's name, one in its system."""
        return self.plan.name

    @property
    def settled(self) -> bool:
        """Its `run:` list ended well, or its process ended: one that said it failed is about to."""
        return self.exit_status is not None or (self.verdict is not None and self.verdict.exit_status == 0)

    @property
    def ready(self) -> bool:
        """Its `run:` list ended well and its process lives."""
        return self.verdict is not None and self.verdict.exit_status == 0 and self.exit_status is None

    def start_exec(self, words: Sequence[str], on_output: ExecSink) -> None:
        """Have the guest's shell run a command; `on_output` hears of it while the console is served, X last.

        Where the guest ends first, X carries its status (128 and the signal's number), after a line of kind E.
        Raises LaunchError: the guest is not ready, another command is under way, or the command cannot be sent.
        """
        self._check_ready("exec")
        if self.exec_sink is not None:
            raise LaunchError(f"guest {self.name}: a command is under way; wait for its end")
        try:
            packet = console.pack_exec([os.fsencode(word) for word in words])
        except ValueError as error:
            raise LaunchError(f"guest {self.name}: {error}") from error
        self._send(packet)
        self.exec_sink = on_output

    def cancel_exec(self) -> None:
        """Have the command that is under way end where it can be left; X comes then. Nothing happens without one."""
        if self.exec_sink is not None and self.ready:
            with suppress(LaunchError):  # its console is full: it reads nothing, whatever it is told
                self._send(console.CANCEL_REQUEST)

    def request_counters(self) -> None:
        """Ask for the guest's counters: `books` changes when the answer comes, after a command that is under way."""
        self._check_ready("books")
        self._send(console.COUNTERS_REQUEST)

    def hear(self) -> bool:
        """Read one packet that the guest sent, without waiting; False at its end. A wrong packet ends the guest."""
        try:
            packet = self.console.recv(console.PACKET_BYTES + 1, socket.MSG_DONTWAIT)
        except (BlockingIOError, ConnectionResetError):
            return True  # reset: it ended with a request unread; what it sent before comes after the error
        except OSError:
            return False
        if packet:
            try:
                self._dispatch(packet[:1], packet[1:])
            except ValueError:
                self.kill()
        return bool(packet)

    def ended(self, status: int) -> None:
        """Take note that the process ended, after its last words."""
        while self._has_packet():
            self.hear()
        self.exit_status = status
        if self.verdict is None:
            self.seconds = monotonic() - self.started_at
        if self.exec_sink is not None:
            how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
            self.exec_sink(console.STDERR, f"guest {self.name}: {how} before its command did\n".encode())
            self._finish_exec(console.EXIT_STATUS.pack(_SIGNAL_BASE - status if status < 0 else status))

    def kill(self) -> None:
        """Kill the process, which cannot be another one that got its number."""
        if self.pidfd is not None and self.exit_status is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def outcome(self) -> GuestOutcome:
        """Return how the guest's run ended; a guest that died before it said anything has its signal or status."""
        said = self.verdict.exit_status if self.verdict is not None else None
        status = said if said is not None and self.exit_status in {None, said} else self.exit_status
        failed = status != 0
        return GuestOutcome(
            self.name, -1 if status is None else status, self.seconds, self._log_tail() if failed else ""
        )

    def close(self) -> None:
        """Close what the host holds of the guest."""
        self.port.close()
        self.console.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def _check_ready(self, what: str) -> None:
        if not self.ready:
            state = "it has ended" if self.exit_status is not None else "its `run:` list has not ended well (yet)"
            raise LaunchError(f"guest {self.name}: {what} needs a guest that is ready; {state}")

    def _send(self, packet: bytes) -> None:
        try:
            self.console.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            raise LaunchError(f"guest {self.name}: its console takes nothing: {error}") from error

    def _has_packet(self) -> bool:
        for _ in range(2):  # the first try may only tell of the reset
            with suppress(OSError):
                return bool(self.console.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        return False

    def _dispatch(self, kind: bytes, data: bytes) -> None:
        """Take one packet. Raises ValueError for one that no guest of ours sends, or not now."""
        if kind == console.VERDICT and self.verdict is None:
            self.verdict = Verdict.unpack(data)
            self.counters = self.verdict.counters
            self.seconds = monotonic() - self.started_at
        elif kind == console.COUNTERS:
            self.counters = Counters.unpack(data)
        elif self.exec_sink is None:
            raise ValueError(f"packet of kind {kind!r}: nothing was asked for")
        elif kind == console.STATUS and len(data) == console.EXIT_STATUS.size:
            self._finish_exec(data)
        elif kind in {console.STDOUT, console.STDERR}:
            self.exec_sink(kind, data)
        else:
            raise ValueError(f"packet of kind {kind!r} and {len(data)} bytes: unknown")

    def _finish_exec(self, status: bytes) -> None:
        sink, self.exec_sink = self.exec_sink, None
        if sink is not None:
            sink(console.STATUS, status)

    def _log_tail(self) -> str:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError as error:
            return f"its log cannot be read: {error}"

"""A guest as the host sees it: its plan, its two sockets, its process, and what it said and how it ended."""

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from dcss.config.plan import GuestPlan
from dcss.report.results import GuestOutcome
from vmguest.bootstrap import CONSOLE_PACKET_BYTES, Verdict

LOG_TAIL_BYTES = 4096


@dataclass(slots=True, eq=False)
class Guest:
    """One guest from its request to its end. `port` carries hypercalls, `console` its verdict."""

    plan: GuestPlan
    port: socket.socket
    console: socket.socket
    log_path: Path
    started_at: float = field(default_factory=monotonic)
    pid: int | None = None
    pidfd: int | None = None
    verdict: Verdict | None = None
    exit_status: int | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The guest's name, one in its system."""
        return self.plan.name

    @property
    def settled(self) -> bool:
        """Its `run:` list has ended, or its process has."""
        return self.verdict is not None or self.exit_status is not None

    @property
    def ready(self) -> bool:
        """Its `run:` list ended well and its process lives."""
        return self.verdict is not None and self.verdict.exit_status == 0 and self.exit_status is None

    def hear(self) -> bool:
        """Read what the guest sent to its console, without waiting; False at its end. No verdict ends the guest."""
        try:
            packet = self.console.recv(CONSOLE_PACKET_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if packet:
            try:
                self.verdict = Verdict.unpack(packet)
            except ValueError:
                self.kill()
            self.seconds = monotonic() - self.started_at
        return bool(packet)

    def ended(self, status: int) -> None:
        """Take note that the process ended."""
        self.exit_status = status
        if self.verdict is None:
            self.seconds = monotonic() - self.started_at

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

    def _log_tail(self) -> str:
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError as error:
            return f"its log cannot be read: {error}"

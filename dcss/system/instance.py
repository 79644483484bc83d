"""One run of a guest as CP sees it: what its engine started, what it reported, and how it ended."""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from errno import ESRCH
from pathlib import Path
from time import monotonic

from dcss.abi.console import Counters, Verdict
from dcss.config.plan import GuestPlan
from dcss.engines.base import End, ExecOptions, Instance, OutputSink
from dcss.errors import LaunchError
from dcss.host.files import log_tail
from dcss.host.process import how_ended
from dcss.results import Boot, GuestAccount, GuestOutcome, MountAccess


@dataclass(slots=True, eq=False)
class GuestInstance:
    """One run of a guest, from the request to its engine on. `running` is the engine's instance, None at first.

    `counters` are the latest that the guest sent: its own statement, like its verdict.
    """

    plan: GuestPlan
    log_path: Path
    started_at: float = field(default_factory=monotonic)
    running: Instance | None = None
    verdict: Verdict | None = None
    counters: Counters | None = None
    end: End | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The guest's name, one in its system."""
        return self.plan.name

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that its engine made for it, while they live."""
        return () if self.running is None or self.end is not None else self.running.pids

    @property
    def running_or_ending(self) -> bool:
        """Its engine started it, and its end has not been recorded yet."""
        return self.running is not None and self.end is None

    @property
    def exit_status(self) -> int | None:
        """How its process ended; None while it lives."""
        return None if self.end is None else self.end.status

    @property
    def ready(self) -> bool:
        """Its `run:` list ended well and it lives."""
        return self.verdict is not None and self.verdict.exit_status == 0 and self.end is None

    @property
    def mounts(self) -> tuple[MountAccess, ...]:
        """How files of its mounts are reached, by its own word."""
        return () if self.running is None else tuple(MountAccess(*access) for access in self.running.access)

    def described(self, account: GuestAccount) -> GuestAccount:
        """Return its account with what it and its engine say of how it reaches files and how it is executed."""
        accelerator = None if self.running is None else self.running.accelerator
        if accelerator is None:
            return replace(account, mounts=self.mounts)
        name, reason = accelerator
        return replace(account, mounts=self.mounts, accelerator=name, accelerator_reason=reason)

    async def wait_verdict(self) -> Verdict | None:
        """Wait until its `run:` list has ended, and record what it reports; None where it ended before that."""
        assert self.running is not None, "it was started"
        self.verdict = await self.running.verdict()
        self.seconds = monotonic() - self.started_at
        if self.verdict is not None and self.running.no_counters_reason is None:
            self.counters = self.verdict.counters
        return self.verdict

    async def wait_ended(self, seconds: float | None = None) -> End:
        """Wait until it has ended, and record how. Raises TimeoutError where it lives on for `seconds`."""
        assert self.running is not None, "it was started"
        async with asyncio.timeout(seconds):
            self.end = await self.running.ended()
        return self.end

    async def exec(self, command: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        """Run a command in the guest; see Instance.exec. Raises LaunchError where the guest is not ready, too."""
        return await self._ready("exec").exec(command, output, options)

    async def refresh_counters(self) -> None:
        """Have the guest send its counters. Raises LaunchError where it cannot be asked now."""
        counters = await self._ready("counters").counters()
        if counters is not None:
            self.counters = counters

    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Write its absolute storage to a file; see Instance.read_storage."""
        if self.running is None:
            raise OSError(ESRCH, f"guest {self.name} has no process to read its storage from")
        self.running.read_storage(write_fd, address, size_bytes)

    def kill(self) -> None:
        """Kill it. Nothing happens before it was started and after it has ended."""
        if self.running is not None:
            self.running.kill()

    @property
    def run_status(self) -> int:
        """How its run ended: what it stated, or the signal or status that it died by; -1 where that is not known."""
        stated = self.verdict.exit_status if self.verdict is not None else None
        status = stated if stated is not None and self.exit_status in {None, stated} else self.exit_status
        return -1 if status is None else status

    def outcome(self) -> GuestOutcome:
        """Return how its run ended."""
        status = self.run_status
        log = log_tail(self.log_path) if status != 0 else ""
        start = None if self.running is None else self.running.boot
        boot: Boot | None = None if start is None else "clone" if start.cloned else "full"
        return GuestOutcome(self.name, status, self.seconds, log, boot, "" if start is None else start.reason)

    def failure(self) -> str:
        """Return why it ended, which no guest does that is well."""
        assert self.end is not None, "it ended"
        if self.end.reason:
            return self.end.reason
        if self.verdict is not None and self.verdict.exit_status != 0:
            return self.verdict.message or f"failed with status {self.verdict.exit_status}"
        status = self.end.status
        return f"killed by {signal_name(-status)}" if status < 0 else how_ended(status)

    @property
    def killed(self) -> bool:
        """It was ended by a signal, and by nothing that it or its engine did."""
        stated = self.verdict is not None and self.verdict.exit_status != 0
        return self.end is not None and self.end.status < 0 and not (self.end.reason or stated)

    def _ready(self, what: str) -> Instance:
        if self.running is None or not self.ready:
            state = "it has ended" if self.end is not None else "its `run:` list has not ended well (yet)"
            raise LaunchError(f"guest {self.name}: {what} needs a guest that is ready; {state}")
        return self.running


def signal_name(number: int) -> str:
    """Return SIGKILL for 9; a number without a name stays one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""A running system: CP, the fork server, the guests and the control socket, served by one loop in one thread."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType, TracebackType
from typing import Literal, Self

from dcss.account.machine import free_memory_bytes
from dcss.config.plan import SystemPlan
from dcss.cp.program import ControlProgram
from dcss.engines.process.forkclient import ForkServer
from dcss.errors import ConfigError, LaunchError
from dcss.host.prctl import adopt_orphans
from dcss.host.rlimits import raise_descriptor_limit
from dcss.host.signals import interrupts_held
from dcss.progress import Progress
from dcss.results import GuestOutcome
from dcss.rpc.loop import Loop
from dcss.rpc.server import ControlServer
from dcss.system.guest import Member
from dcss.system.instance import Guest
from dcss.system.jobs import Jobs
from dcss.system.log import Echo, SystemLog, utc_now
from dcss.system.publish import publish_segments
from dcss.system.requests import Requests
from dcss.system.serving import ServingProgress
from dcss.system.supervisor import Supervisor

ENGINES = ("process",)
Phase = Literal["publishing", "starting", "up"]


class TakenDownError(LaunchError):
    """Someone had the system taken down before it was up."""


class System:
    """One system from its CP's start to its end; leaving the context takes everything down.

    `echo` hears what the journal notes. Raises ConfigError, SystemBusyError, and LaunchError where the machine's limits
    cannot carry the plan.
    """

    def __init__(self, plan: SystemPlan, progress: Progress, *, echo: Echo | None = None) -> None:
        check_engines(plan)
        raise_descriptor_limit(len(plan.guests), len(plan.segments))
        adopt_orphans()
        self.plan = plan
        self.loop = Loop()
        self.phase: Phase = "publishing"
        self.ending = False  # someone asked for the end
        self.free_before_bytes: int | None = None
        self._progress = progress
        with ExitStack() as stack:
            stack.callback(self.loop.close)
            self.cp = stack.enter_context(ControlProgram(plan.name))
            self.started_at = utc_now()
            self.journal = SystemLog(self.cp.lock.directory, echo)
            stack.callback(self.journal.close)
            if self.cp.swept:
                self.journal.note(f"removed what a CP that was killed left: {', '.join(self.cp.swept)}")
            self.cp.tell_findings(self._warn)
            self.jobs = Jobs(self.loop)
            stack.callback(self.jobs.close)
            stack.callback(self._close_guests)
            # Exec'd before anything is published: no guest can inherit what CP holds.
            self.fork_server = ForkServer(self.journal.descriptor)
            stack.callback(self.fork_server.close)
            self.roster = Supervisor(
                plan,
                cp=self.cp,
                fork_server=self.fork_server,
                loop=self.loop,
                jobs=self.jobs,
                journal=self.journal,
                settled=self._settled,
            )
            control = ControlServer(self.loop, self.cp.lock.directory, Requests(self).handlers(), self.journal.note)
            stack.callback(control.close)
            self._closing = stack.pop_all()

    @property
    def guests(self) -> Mapping[str, Guest]:
        """The last start of each guest that was started, by name."""
        return MappingProxyType(
            {name: member.guest for name, member in self.roster.members.items() if member.guest is not None}
        )

    def publish(self) -> None:
        """Put every segment of the plan into shared memory, and serve clients meanwhile.

        Raises ConfigError, ImageError, PublishError, SpoolError, TakenDownError.
        """
        publish_segments(self.cp, self.plan, ServingProgress(self._progress, self._serve_clients))

    def launch(self) -> None:
        """Start every guest of the plan, a few at a time while `wait` or `poll` serve them."""
        self.free_before_bytes = free_memory_bytes()
        self._progress.phase("start guests", len(self.plan.guests), "guests")
        self.phase = "starting"
        self.roster.launch()

    def wait(self) -> None:
        """Serve guests until each one's `run:` list has ended, well or not. Raises TakenDownError, LaunchError."""
        while not self.roster.all_settled:
            self.poll(None)
            self._check_ending()
        self.phase = "up"

    def serve(self) -> None:
        """Serve guests and clients until one of these has the system taken down. Raises LaunchError."""
        while not self.ending:
            self.poll(None)

    def poll(self, timeout_seconds: float | None) -> None:
        """Serve what is ready: hypercalls, consoles, ends of processes. Raises LaunchError: the fork server ended."""
        self.loop.turn(timeout_seconds)

    def outcomes(self) -> tuple[GuestOutcome, ...]:
        """Return how each guest's last start ended, or how it does so far."""
        return tuple(member.outcome() for member in self.roster.members.values())

    def close(self) -> None:
        """Take everything down: guests, fork server, shared memory. A second Ctrl-C waits until that is done."""
        with interrupts_held():
            self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _serve_clients(self) -> None:
        self.poll(0)
        while self.jobs.working and not self.ending:  # a client's save: what is published next waits its turn
            self.poll(None)
        self._check_ending()

    def _check_ending(self) -> None:
        if self.ending:
            raise TakenDownError(f"system {self.plan.name}: taken down while it was {self.phase}")

    def _warn(self, finding: str) -> None:
        self.journal.note(f"warning: {finding}")
        if self.phase != "up":  # afterwards nobody looks at the progress
            self._progress.warn(finding)

    def _settled(self, _: Member) -> None:
        self._progress.advance()

    def _close_guests(self) -> None:
        if hasattr(self, "roster"):  # the fork server may have failed to start
            self.roster.close()


def check_engines(plan: SystemPlan) -> None:
    """Raise ConfigError for guests whose engine this version cannot run."""
    findings = [
        f"{guest.where}: engine: found {guest.engine}, wanted {', '.join(ENGINES)} (others are not built yet)"
        for guest in plan.guests
        if guest.engine not in ENGINES
    ]
    if findings:
        raise ConfigError(*findings)

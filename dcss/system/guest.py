"""A guest of a system through all its starts: its state, since when, and whether it is to be started again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from dcss.config.plan import GuestPlan
from dcss.results import GuestOutcome
from dcss.rpc.loop import Timer
from dcss.system.instance import Guest

# Before each start in a row of failed ones; after the last, the guest is left as it is.
RESTART_DELAYS_SECONDS = (0.1, 0.5, 2.0, 10.0, 30.0)
QUICK_RESTARTS = 3  # whoever waits for a guest waits for so many
STEADY_SECONDS = 60.0  # a guest that lived so long begins a new row
EX_OSERR = 71  # sysexits.h: "system error (e.g., can't fork)": the exit status of a guest that has no process


class State(StrEnum):
    """What `dcss ps` shows of a guest."""

    WAITING = "waiting"  # for guests that it comes after
    STARTING = "starting"  # its process is asked for
    RUNNING = "running"  # in its `run:` list
    READY = "ready"  # its `run:` list ended well
    FAILED = "failed"
    KILLED = "killed"  # by a signal that CP did not send
    STOPPED = "stopped"  # by `dcss guest stop`
    RESTARTING = "restarting"  # waits for its next start

    @property
    def settled(self) -> bool:
        """Nothing more happens by itself."""
        return self not in {State.WAITING, State.STARTING, State.RUNNING, State.RESTARTING}


@dataclass(slots=True, eq=False)
class Member:
    """One guest of the plan. `guest` is its last start, None before the first; `reason` why a start was refused.

    `restarts` counts the starts that its policy asked for, `row` those of them since it was last steady. `waiters` are
    called once, when it has settled.
    """

    plan: GuestPlan
    state: State = State.STARTING
    since_seconds: float = field(default_factory=time.time)  # of the wall clock
    entered_seconds: float = field(default_factory=time.monotonic)  # the same instant
    guest: Guest | None = None
    reason: str = ""
    restarts: int = 0
    row: int = 0
    wanted: bool = True
    timer: Timer | None = None
    waiters: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The guest's name, one in its system."""
        return self.plan.name

    @property
    def lives(self) -> bool:
        """It has a process, or one is asked for."""
        guest = self.guest
        return self.state is State.STARTING or (guest is not None and guest.pid is not None and not self.ended)

    @property
    def ended(self) -> bool:
        """The process of its last start has ended."""
        return self.guest is not None and self.guest.exit_status is not None

    def enter(self, state: State) -> None:
        """Be in another state from now on."""
        if state is not self.state:
            self.state = state
            self.since_seconds, self.entered_seconds = time.time(), time.monotonic()

    def next_delay_seconds(self) -> float | None:
        """Return how long to wait before the next start after a failure; None where it is left as it is."""
        if not self.wanted or self.plan.restart != "on-failure":
            return None
        if time.monotonic() - self.entered_seconds >= STEADY_SECONDS:
            self.row = 0
        return RESTART_DELAYS_SECONDS[self.row] if self.row < len(RESTART_DELAYS_SECONDS) else None

    def outcome(self) -> GuestOutcome:
        """Return how its last start ended, or why there was none."""
        if self.reason or self.guest is None:
            return GuestOutcome(self.name, EX_OSERR, 0.0, self.reason)
        return self.guest.outcome()

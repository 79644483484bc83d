"""A guest of a system through all its starts: its state, since when, and whether it is to be started again."""

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum

from dcss.config.plan import GuestPlan
from dcss.results import GuestOutcome
from dcss.system.instance import GuestInstance

# Before each start after a failure; after the last, the guest is left as it is.
RESTART_DELAYS_SECONDS = (0.1, 0.5, 2.0, 10.0, 30.0)
QUICK_RESTARTS = 3  # whoever waits for a guest waits for so many
STEADY_SECONDS = 60.0  # the failures before a guest lived so long do not count any more
EX_OSERR = 71  # sysexits.h: "system error (e.g., can't fork)": the exit status of a guest that has no process


class State(StrEnum):
    """What `dcss ps` shows of a guest."""

    WAITING = "waiting"  # for guests that it comes after
    STARTING = "starting"  # its engine is asked for a process, or will be
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


FAILED_STATES = frozenset({State.FAILED, State.KILLED, State.RESTARTING})


@dataclass(slots=True, eq=False)
class Guest:
    """One guest of the plan. `instance` is its last start, None before the first; `reason` why it could not run.

    `restarts` counts the starts that its policy asked for, `consecutive_failures` those of them since it last lived for
    STEADY_SECONDS. `life` is the task that takes it from a start to its last end. `wanted` is false once it is stopped.
    """

    plan: GuestPlan
    state: State = State.STARTING
    since_seconds: float = field(default_factory=time.time)  # of the wall clock
    entered_seconds: float = field(default_factory=time.monotonic)  # the same instant
    instance: GuestInstance | None = None
    reason: str = ""
    restarts: int = 0
    consecutive_failures: int = 0
    wanted: bool = True
    requested: bool = False  # its engine is being asked for a process
    life: asyncio.Task[None] | None = None
    _waiters: list[asyncio.Future[State]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The guest's name, one in its system."""
        return self.plan.name

    @property
    def lives(self) -> bool:
        """It has a process, or one is asked for."""
        return self.state is State.STARTING or (self.instance is not None and self.instance.running_or_ending)

    @property
    def settled(self) -> bool:
        """Nothing more happens by itself, or only after a delay that nobody should wait for."""
        delayed = self.state is State.RESTARTING and self.consecutive_failures > QUICK_RESTARTS
        return self.state.settled or delayed

    def enter(self, state: State) -> None:
        """Be in another state from now on; if it is a settled one, wake whoever waits for that."""
        if state is not self.state:
            self.state = state
            self.since_seconds, self.entered_seconds = time.time(), time.monotonic()
        if self.settled:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(state)

    def next_settled(self) -> asyncio.Future[State]:
        """Return what will have the state in which the guest settles next."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def next_delay_seconds(self) -> float | None:
        """Return how long to wait before the next start after a failure; None where it is left as it is."""
        if not self.wanted or self.plan.restart != "on-failure":
            return None
        if time.monotonic() - self.entered_seconds >= STEADY_SECONDS:
            self.consecutive_failures = 0
        failures = self.consecutive_failures
        return RESTART_DELAYS_SECONDS[failures] if failures < len(RESTART_DELAYS_SECONDS) else None

    def failure(self) -> str:
        """Return why it failed; nothing where that is not known."""
        if self.reason or self.instance is None or self.instance.end is None:
            return self.reason
        return self.instance.failure().removeprefix(f"{self.name}: ")

    @property
    def run_status(self) -> int:
        """The exit status of `outcome`, which reads the end of its log, too."""
        return EX_OSERR if self.reason or self.instance is None else self.instance.run_status

    def outcome(self) -> GuestOutcome:
        """Return how its last start ended, or why there was none; 0 seconds where it has not run."""
        if self.reason or self.instance is None:
            seconds = 0.0 if self.instance is None else self.instance.seconds
            return GuestOutcome(self.name, EX_OSERR, seconds, self.reason)
        return self.instance.outcome()

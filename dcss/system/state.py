"""The parts of one running system, as those see them who look at it, prove it, or serve its clients."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from dcss.config.plan import SystemPlan
from dcss.cp.program import ControlProgram
from dcss.engines.base import Engine
from dcss.host.aio import TaskSet
from dcss.system.instance import GuestInstance
from dcss.system.log import SystemLog
from dcss.system.statistics import StatisticsRecorder
from dcss.system.supervisor import Supervisor

Phase = Literal["publishing", "starting", "up"]


class SystemState:
    """A system's plan and its parts, which exist once it has been started. `tasks` end with the system.

    `started_at` is an instant in ISO 8601, in UTC; `free_before_bytes` is the machine's free memory before its guests.
    """

    cp: ControlProgram
    log: SystemLog
    supervisor: Supervisor
    statistics: StatisticsRecorder
    started_at: str

    def __init__(self, plan: SystemPlan, engines: Mapping[str, Engine]) -> None:
        self.plan = plan
        self.engines = engines
        self.tasks = TaskSet()
        self.phase: Phase = "publishing"
        self.free_before_bytes: int | None = None

    @property
    def guests(self) -> Mapping[str, GuestInstance]:
        """The last start of each guest that was started, by name."""
        return MappingProxyType(
            {name: guest.instance for name, guest in self.supervisor.guests.items() if guest.instance is not None}
        )

"""Statistics areas for tests: recorders that nobody reads."""

from dcss.config.plan import SystemPlan
from dcss.cp.program import ControlProgram
from dcss.cp.statistics import StatisticsArea
from dcss.system.statistics import StatisticsRecorder


def unread_recorder(plan: SystemPlan, cp: ControlProgram) -> StatisticsRecorder:
    """Return a recorder that writes into memory which is not shared."""
    area = StatisticsArea(cp.system, len(plan.guests))
    area.close()
    return StatisticsRecorder(plan, cp, area)

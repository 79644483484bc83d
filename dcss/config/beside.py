"""Make a plan in a process of its own: to check a file takes as long as to import what runs it."""

import os
import pickle
import signal
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

from dcss.config.document import Document
from dcss.errors import DcssError

if TYPE_CHECKING:
    from dcss.config.fleet_plan import FleetPlan
    from dcss.config.plan import SystemPlan

_Plan = TypeVar("_Plan")


class _MadeBeside(ABC, Generic[_Plan]):
    """A plan which is made while this process goes on; leaving the block ends what makes it.

    The process is forked, which one of several threads does not do: then `result` makes the plan, as where there is no
    room for a process.
    """

    def __init__(self) -> None:
        self._reading, writing = os.pipe2(os.O_CLOEXEC)
        self._pid = 0
        if threading.active_count() == 1:
            with suppress(OSError):
                self._pid = os.fork()
                if self._pid == 0:
                    self._make(writing)
        os.close(writing)

    @abstractmethod
    def _plan(self) -> _Plan:
        """Return the plan, in whichever process. Raises ConfigError."""

    def result(self) -> _Plan:
        """Wait for the plan. Raises ConfigError where something is wrong with the file."""
        with open(self._reading, "rb", closefd=False) as answer:
            packed = answer.read()
        self._wait()
        if not packed:
            return self._plan()
        plan: _Plan | DcssError = pickle.loads(packed)
        if isinstance(plan, DcssError):
            raise plan
        return plan

    def _make(self, writing: int) -> NoReturn:
        """Be the process that makes the plan. What is a bug shows in the other one, which tries again."""
        try:
            _look_for_no_plugins()
            try:
                made: _Plan | DcssError = self._plan()
            except DcssError as error:
                made = error
            packed = pickle.dumps(made)
            with open(writing, "wb") as answer:
                answer.write(packed)
        finally:
            os._exit(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._reading)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)  # it has not been waited for: no other process can have its number
        self._wait()

    def _wait(self) -> None:
        pid, self._pid = self._pid, 0
        if pid:
            os.waitpid(pid, 0)


class PlanBeside(_MadeBeside["SystemPlan"]):
    """The plan of a system."""

    def __init__(self, document: Document, path: Path, name: str | None = None) -> None:
        self._asked = document, path, name
        super().__init__()

    def _plan(self) -> "SystemPlan":
        from dcss.config.load import plan_of

        return plan_of(*self._asked)


class FleetPlanBeside(_MadeBeside["FleetPlan"]):
    """The plan of a fleet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__()

    def _plan(self) -> "FleetPlan":
        from dcss.config.load_fleet import load_fleet

        return load_fleet(self._path)


def _look_for_no_plugins() -> None:
    """Let pydantic look for no plugins, for which it reads the names of all that is installed.

    This is an eighth of the CPU of a plan. Only a process that ends with its plan may do so: a plugin may be for other
    models in this one. Should another pydantic want more of its module, the plan is made without this.
    """
    loader = ModuleType("pydantic.plugin._loader")
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(loader.__name__, loader)

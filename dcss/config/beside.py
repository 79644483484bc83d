"""Make a plan in a process of its own: to check a file takes as long as to import what runs it."""

import os
import pickle
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from dcss.config.document import Document
from dcss.errors import DcssError

if TYPE_CHECKING:
    from dcss.config.plan import SystemPlan


class PlanBeside:
    """The plan of a document, which is made while this process goes on; leaving the block ends what makes it.

    The process is forked, so this one must have one thread.
    """

    def __init__(self, document: Document, path: Path, name: str | None = None) -> None:
        self._asked = document, path, name
        self._reading, writing = os.pipe2(os.O_CLOEXEC)
        self._pid = 0
        with suppress(OSError):  # no room for a process: `result` makes the plan
            self._pid = os.fork()
            if self._pid == 0:
                self._make(writing)
        os.close(writing)

    def result(self) -> "SystemPlan":
        """Wait for the plan. Raises ConfigError as dcss.config.load.plan_of does."""
        with open(self._reading, "rb", closefd=False) as answer:
            packed = answer.read()
        self._wait()
        if not packed:
            from dcss.config.load import plan_of

            return plan_of(*self._asked)
        plan: SystemPlan | DcssError = pickle.loads(packed)
        if isinstance(plan, DcssError):
            raise plan
        return plan

    def _make(self, writing: int) -> NoReturn:
        """Be the process that makes the plan. What is a bug shows in the other one, which tries again."""
        try:
            _look_for_no_plugins()
            from dcss.config.load import plan_of

            try:
                made: SystemPlan | DcssError = plan_of(*self._asked)
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


def _look_for_no_plugins() -> None:
    """Let pydantic look for no plugins, for which it reads the names of all that is installed.

    This is an eighth of the CPU of a plan. Only a process that ends with its plan may do so: a plugin may be for other
    models in this one. Should another pydantic want more of its module, the plan is made without this.
    """
    loader = ModuleType("pydantic.plugin._loader")
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(loader.__name__, loader)

"""A command that is CP itself waits for its copy before it ends, wherever Ctrl-C finds the event loop."""

import signal
import threading
import time
from typing import Any, cast

import pytest

from dcss.cli.operator import _LocalOperator
from dcss.cp.program import ControlProgram
from dcss.cp.requests import Query
from dcss.cp.threads import in_thread
from dcss.host.cancellation import check_cancelled
from dcss.host.interrupts import SignalledError, signals_interrupt


class CopyingCP:
    """A CP whose copy runs in a thread while Ctrl-C arrives."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def perform(self, request: object) -> Any:
        try:
            await in_thread(self._copy)
        finally:
            self.events.append("waited")

    def _copy(self) -> None:
        signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)
        try:
            for _ in range(60_000):  # a minute, where nobody cancels it
                check_cancelled()
                time.sleep(0.001)
            self.events.append("copied all")
        finally:
            self.events.append("copy ended")


class SteppingCP(CopyingCP):
    """The same, but Ctrl-C finds the task in the middle of a step."""

    async def perform(self, request: object) -> Any:
        signal.raise_signal(signal.SIGINT)
        self.events.append("step ended")
        await super().perform(request)


@pytest.mark.parametrize(
    ("kind", "first"), [(CopyingCP, ["copy ended", "waited"]), (SteppingCP, ["step ended"])], ids=["copy", "step"]
)
def test_the_copy_has_ended_when_the_interrupt_is_raised(kind: type[CopyingCP], first: list[str]) -> None:
    cp, heard = kind(), []
    operator = _LocalOperator(cast(ControlProgram, cp), lambda: heard.append("interrupt"))
    with pytest.raises(SignalledError), signals_interrupt():
        operator.perform(Query())
    assert cp.events[: len(first)] == first
    assert "copy ended" in cp.events
    assert "copied all" not in cp.events
    assert heard == ["interrupt"]

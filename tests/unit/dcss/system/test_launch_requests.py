"""What a request does with a guest that does not listen."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dcss.errors import LaunchError
from dcss.rpc.connection import ClientConnection
from dcss.rpc.loop import Loop
from dcss.system import requests
from dcss.system.system import System


class DeafGuest:
    """A guest whose console is full of what it was asked before."""

    name, ready, exec_sink, books = "G", True, None, None

    def request_counters(self) -> None:
        raise LaunchError("guest G: its console takes nothing")


def test_measure_goes_on_without_a_guest_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "measure_system", lambda _, limits: list(limits))
    monkeypatch.setattr(requests, "to_document", lambda limits: {"limits": limits})
    system: Any = SimpleNamespace(guests={"G": DeafGuest()}, loop=Loop(), cp=None, jobs=SimpleNamespace(run=None))
    told: list[dict[str, Any]] = []
    client = SimpleNamespace(finish=told.append)
    requests.Requests(cast(System, system)).handlers()["measure"](cast(ClientConnection, client), {})
    system.loop.close()
    assert told == [{"limits": ["guest G: busy, so that its own books are the last that it told"]}]

"""Shared by all tests: what a machine may lack, hypothesis profiles, time limits, and default signals for children."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from needs_support import missing, skip_for
from signals_support import reset_signals

pytest_plugins = ["fixtures_support", "api_support", "pytester"]

SLOW_TIMEOUT_SECONDS = 1100  # of a test marked slow, and of every test with the long profile

settings.register_profile(
    "default", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("long", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)


def pytest_configure() -> None:
    reset_signals()
    os.environ.pop("COLUMNS", None)  # a worker of pytest-xdist has it, and output would be as wide as that


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    longest_seconds = float(config.getini("faulthandler_timeout"))  # which ends the whole run
    for item in items:
        slow = PROFILE == "long" or item.get_closest_marker("slow") is not None
        if slow and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_SECONDS))
        limit = item.get_closest_marker("timeout")
        if limit is not None and not 0 < limit.args[0] < longest_seconds:
            raise pytest.UsageError(
                f"{item.nodeid}: found timeout({limit.args[0]}), wanted less than the {longest_seconds:.0f} s of"
                " faulthandler_timeout (pyproject.toml), after which the run ends"
            )


@pytest.fixture(autouse=True)
def ksm_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let one test at a time have the machine's KSM, whose settings are every process's."""
    if not any("ksm" in mark.args for mark in request.node.iter_markers("needs")):
        yield
        return
    with open(Path(tempfile.gettempdir()) / f"dcss-tests-ksm-{os.geteuid()}", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            reason = missing(need)
            if reason is not None:
                skip_for(need, reason)

"""Shared by all tests: the gate for what a machine may lack, and the hypothesis profiles."""

import os

import pytest
from hypothesis import HealthCheck, settings
from needs_support import may_skip, missing

settings.register_profile(
    "default", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("long", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            reason = missing(need)
            if reason is None:
                continue
            if may_skip(need):
                pytest.skip(f"needs {reason}")
            pytest.fail(f"needs {reason}; in CI only what DCSS_MAY_SKIP names may be missing", pytrace=False)

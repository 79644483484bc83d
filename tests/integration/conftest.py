"""Users with directories of their own for tests of the command line."""

from collections.abc import Iterator

import pytest
from cli_support import NOBODY, Dcss, made_user, others_python


@pytest.fixture(params=["self", pytest.param("nobody", marks=pytest.mark.slow)])
def dcss(request: pytest.FixtureRequest) -> Iterator[Dcss]:
    """Give the user of the tests, and then one without any privilege."""
    if request.param == "nobody" and others_python() is None:
        pytest.skip("needs root, and an interpreter that other users may run")
    with made_user(uid=None if request.param == "self" else NOBODY) as user:
        yield user

"""A user with directories of its own for tests of the command line."""

from collections.abc import Iterator

import pytest
from cli_system import Dcss, made_user


@pytest.fixture
def dcss() -> Iterator[Dcss]:
    with made_user() as user:
        yield user

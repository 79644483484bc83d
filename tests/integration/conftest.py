"""Users with directories of their own for tests of the command line."""

from collections.abc import Iterator

import pytest
from cli_support import NOBODY, Dcss, made_user
from needs_support import needs


@pytest.fixture(params=["self", pytest.param("nobody", marks=[pytest.mark.slow, needs("other_users")])])
def dcss(request: pytest.FixtureRequest) -> Iterator[Dcss]:
    """Give the user of the tests, and then one without any privilege."""
    with made_user(uid=None if request.param == "self" else NOBODY) as user:
        yield user

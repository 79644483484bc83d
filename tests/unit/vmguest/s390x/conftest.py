"""A guest that runs s390x programs."""

from collections.abc import Iterator

import pytest
from cp_support import BlockingCp
from guest390_support import Guest390, guest390


@pytest.fixture
def guest(control_program: BlockingCp) -> Iterator[Guest390]:
    with guest390(control_program) as made:
        yield made

"""Numbers, each once."""

import numpy as np
import pytest

from dcss.account.arrays import distinct


@pytest.mark.parametrize("numbers", [[], [5], [3, 1, 3, 2, 1], [1 << 63, 0, (1 << 64) - 1, 0]])
def test_each_number_is_there_once_and_they_ascend(numbers: list[int]) -> None:
    found = distinct(np.array(numbers, np.uint64))
    assert found.dtype == np.uint64
    assert found.tolist() == sorted(set(numbers))

"""Numbers in a report's data come out as they went in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_support import decoded, decoded_column, decoded_runs

from dcss.report.html.encode import encode_column, encode_numbers, encode_runs, runs_of


@given(st.lists(st.integers(0, (1 << 53) - 2)))
def test_numbers_come_out_as_they_went_in(numbers: list[int]) -> None:
    assert decoded(encode_numbers(np.array(numbers, np.int64))) == numbers


@given(st.lists(st.none() | st.integers(0, 2) | st.integers(0, 1 << 50)))
def test_columns_come_out_as_they_went_in(numbers: list[int | None]) -> None:
    assert decoded_column(encode_column(numbers)) == numbers


def test_a_column_of_equal_numbers_is_a_few_characters() -> None:
    assert len(encode_column([None] * 100_000)) <= 9


@given(st.lists(st.integers(0, 3), max_size=200))
def test_runs_come_out_as_they_went_in(numbers: list[int]) -> None:
    assert decoded_runs(encode_runs(np.array(numbers, np.int64))) == numbers


def test_a_long_run_is_a_few_characters() -> None:
    assert len(encode_runs(np.zeros(100_000, np.int64))) <= 8


@pytest.mark.parametrize("numbers", [[], [5], [5, 5, 6]])
def test_runs_are_as_long_as_the_numbers(numbers: list[int]) -> None:
    lengths, values = runs_of(np.array(numbers, np.int64))
    assert np.repeat(values, lengths).tolist() == numbers

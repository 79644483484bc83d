"""docs/facts.md names tests that exist, and every row of the table-driven tests stands on it."""

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/facts.md").read_text()
# An empty cell is one blank wide, so that a pattern that asks for a blank on both sides of each cell skips its row.
ROWS = re.findall(r"^\| ([0-9][\w.-]*) \| (.+?) \| ?(.*?) ?\| ?(.*?) ?\|$", PAGE, re.MULTILINE)
TABLES = (
    "test_facts_cp.py",
    "test_facts_diag64.py",
    "test_facts_extmem.py",
    "test_facts_dcssblk.py",
    "test_facts_dcssblk_io.py",
    "test_facts_mount.py",
)


@cache
def text_of(name: str) -> str:
    (path,) = TESTS.rglob(name)
    return path.read_text()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_row_has_its_tests(row: tuple[str, str, str, str]) -> None:
    fact, what, source, tests = row
    named = re.findall(r"`(test_\w+\.py)::([\w.-]+)`", tests)
    assert named or "left out" in what, fact
    assert source or "**ours**" in what
    for name, test in named:
        assert f"def {test}(" in text_of(name) or f'"{test}"' in text_of(name), f"{name} has no {test}"


@pytest.mark.parametrize("table", TABLES)
def test_each_row_of_a_table_stands_on_the_page(table: str) -> None:
    ids = re.findall(r"^\s*(?:\w*\(|)\s*\"([1-5][.-][\w.-]+)\",?", text_of(table), re.MULTILINE)
    ids += re.findall(r"Row\(\s*\"([1-5][.-][\w.-]+)\"", text_of(table))
    ids += re.findall(r"^def (test_[1-5]_\w+)", text_of(table), re.MULTILINE)
    assert len(set(ids)) >= 3
    assert set(ids) <= {test for _, test in re.findall(r"`(test_\w+\.py)::([\w.-]+)`", PAGE)}


def test_no_row_stands_twice() -> None:
    facts = [row[0] for row in ROWS]
    assert len(facts) == len(set(facts)) >= 150

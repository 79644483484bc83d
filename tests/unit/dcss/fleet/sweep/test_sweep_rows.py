"""The output of a sweep: rows stay whatever happens, and nobody else writes the file."""

import json
from pathlib import Path

import pytest

from dcss.errors import ConfigError
from dcss.fleet.sweep.row_file import opened_rows

ROWS = [{"digest": "a", "outcome": "done"}, {"digest": "b", "outcome": "failed"}]


def write(path: Path, tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + tail)
    return path


def test_rows_are_kept_and_added(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with opened_rows(path) as rows:
        assert rows.by_digest() == {}
        for row in ROWS:
            rows.add(row)
    with opened_rows(path) as rows:
        assert list(rows.by_digest().values()) == ROWS


def test_a_row_that_was_not_written_to_its_end_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", tail='{"digest": "c", "outc')
    with opened_rows(path) as rows:
        assert set(rows.by_digest()) == {"a", "b"}
        rows.add({"digest": "c"})
    assert [json.loads(line)["digest"] for line in path.read_text().splitlines()] == ["a", "b", "c"]


def test_failed_rows_are_taken_out_where_they_are_run_again(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl")
    with opened_rows(path, {"failed"}) as rows:
        assert set(rows.by_digest()) == {"a"}
        rows.add({"digest": "b", "outcome": "done"})
        with pytest.raises(ConfigError, match="another sweep"), opened_rows(path):
            pass
    assert [json.loads(line)["outcome"] for line in path.read_text().splitlines()] == ["done", "done"]


@pytest.mark.parametrize("text", ["hello\n", "[1]\n", '{"digest": 1}\n'])
def test_another_file_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"notes.txt:1: found no row of a sweep"), opened_rows(path):
        pass
    assert path.read_text() == text


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wanted a file to write rows to"), opened_rows(tmp_path):
        pass

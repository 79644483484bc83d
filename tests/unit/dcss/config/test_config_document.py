"""YAML files as plain data, with the line of every value."""

from pathlib import Path

import pytest

from dcss.config.document import Document, read_document
from dcss.errors import ConfigError


def read(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    return read_document(path)


def test_keys_entries_and_missing_keys_have_lines(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb:\n  - x\n  - c: [1,\n      2]\n    d:\n      e: 3\n")
    assert document.data == {"a": 1, "b": ["x", {"c": [1, 2], "d": {"e": 3}}]}
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 1, "c", 1)) == 5
    assert document.line(("b", 1, "d", "e")) == 7
    assert document.line(("b", 1, "nothing")) == 4
    assert document.line(()) == 1


def test_aliases_give_the_same_value_at_each_place(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &one {x: [1, 2]}\nb: *one\nc: [*one]\n")
    assert document.data == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": [{"x": [1, 2]}]}
    assert document.line(("c", 0, "x")) == 1


def test_merge_takes_what_the_mapping_does_not_give(tmp_path: Path) -> None:
    document = read(tmp_path, "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  z: 3\n  <<: [*a, *b]\n")
    assert isinstance(document.data, dict)
    assert document.data["c"] == {"x": 1, "y": 1, "z": 3}
    assert document.line(("c", "z")) == 4
    assert document.line(("c", "x")) == 1


def test_merging_what_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:2: document: found << with something else"):
        read(tmp_path, "a: &a 1\nb: {<<: *a}\n")


def test_a_scalar_is_described_as_the_file_has_it(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 0x10\nb: off\nc: 2001-01-01\n")
    assert document.describe(("a",), 16) == "0x10"
    assert document.describe(("b",), False) == "off, which YAML reads as false"
    assert document.describe(("c",), object()) == "2001-01-01"


@pytest.mark.parametrize(
    "text", ["a: 2001-13-45\n", "a: " + "9" * 5000 + "\n", "{1: a}\n", "? [a]\n: b\n", "a: !x b\n"]
)
def test_what_cannot_be_plain_data_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1: document: found "):
        read(tmp_path, text)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 500)]
    with pytest.raises(ConfigError, match="aliases that expand to more than 100000 values"):
        read(tmp_path, "\n".join(lines))

"""Units, columns, wrapping and what a stream can show."""

import io
from pathlib import Path

import pytest

from dcss.report.blocks import Column, Mark, Note, Table, text_cell
from dcss.report.layout import cell_columns, prose, render_block
from dcss.report.style import Style, style_for
from dcss.report.units import fmt_bytes, fmt_count, fmt_seconds


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (4096, "4.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (104_857_600, "100.0 MiB"),
        (1 << 40, "1.0 TiB"),
        (-(5 << 20), "-5.0 MiB"),
        (1 << 70, "1048576.0 PiB"),
    ],
)
def test_bytes_have_iec_units(size_bytes: int, text: str) -> None:
    assert fmt_bytes(size_bytes) == text


def test_counts_and_seconds() -> None:
    assert fmt_count(1, "guest") == "1 guest"
    assert fmt_count(25347, "entry", "entries") == "25,347 entries"
    assert [fmt_seconds(each) for each in (0.004, 9.99, 9.996, 59.9, 59.96, 125)] == [
        "0.00 s",
        "9.99 s",
        "10.0 s",
        "59.9 s",
        "1 min 00 s",
        "2 min 05 s",
    ]


def test_a_table_is_as_wide_as_its_content() -> None:
    rows = tuple((text_cell(name), text_cell(number)) for name, number in (("a", "1"), ("漢字", "22"), ("sum", "23")))
    table = Table((Column("NAME"), Column("N", right=True)), rows, ruled_rows=1)
    assert render_block(table, Style()) == ["NAME    N", "a       1", "漢字   22", "─────────", "sum    23"]


def test_suffixes_spans_and_marks_keep_their_columns() -> None:
    columns = (Column(""), Column("A", min_width=2, gap=1), Column("B"), Column("N", right=True, suffix=" +"))
    rows = (
        (Mark(True), text_cell("a"), text_cell("b"), text_cell("10")),
        (Mark(None), text_cell("the sum", span=2), text_cell("9")),
    )
    assert render_block(Table(columns, rows), Style()) == [
        "    A  B       N",
        "✓   a  b      10 +",
        "?   the sum    9 +",
    ]
    coloured = render_block(Table(columns, rows), Style(color=True))
    assert coloured[1].endswith("m   a  b      10 +")


def test_a_note_goes_on_where_its_label_ends() -> None:
    note = Note(": up since ten, with many guests in it, and more", "demo", "bold", details=("a\tb",))
    assert render_block(note, Style(width=40)) == [
        "demo: up since ten, with many guests in",
        "it, and more",
        "a\\tb",
    ]


def test_names_in_tables_and_notes_cannot_move_the_cursor_or_turn_text_around() -> None:
    name = "a\x1b]0;t\x07\u202e\u2028b\n\udcff"
    shown = "a\\x1b]0;t\\x07\\u202e\\u2028b\\n\udcff"
    assert render_block(Table((Column("NAME"),), ((text_cell(name),),)), Style()) == ["NAME", shown]
    assert render_block(Note(name, wrapped=False, details=(name,)), Style()) == [shown, shown]


def test_columns_of_wide_and_combining_characters() -> None:
    assert [cell_columns(text) for text in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]


def test_prose_hangs_behind_its_first_word() -> None:
    text = "one two three four five six seven eight nine ten eleven"
    assert prose(text, Style(width=40), first="took", indent=6) == [
        "took  one two three four five six seven",
        "      eight nine ten eleven",
    ]
    assert prose(text, Style(), first="took", indent=6) == ["took  " + text]
    assert prose("", Style(width=40), first="took", indent=6) == ["took"]


def test_prose_never_breaks_a_path() -> None:
    path = "/usr/lib/" + "x" * 100
    assert path in prose(f"see {path} there", Style(width=50))


class Terminal(io.StringIO):
    """A terminal of unknown size."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)


def test_a_terminal_has_colour_and_a_pipe_has_none() -> None:
    assert style_for(Terminal()).color
    assert not style_for(io.StringIO()).color


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert not style_for(Terminal()).color


def test_columns_counts_also_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert style_for(io.StringIO()).width is None
    monkeypatch.setenv("COLUMNS", "72")
    assert style_for(io.StringIO()).width == 72
    assert style_for(Terminal()).width == 72


@pytest.mark.parametrize("columns", ["0", "-1", "x", "", "²"])
def test_invalid_columns_are_ignored(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert style_for(io.StringIO()).width is None


def test_marks_follow_the_encoding(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w", encoding="latin-1") as stream:
        assert not style_for(stream).unicode
    with (tmp_path / "x").open("w", encoding="utf-8") as stream:
        assert style_for(stream).unicode

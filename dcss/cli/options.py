"""Exit statuses, options and output that commands have in common."""

import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dcss.report.blocks import Page
    from dcss.results import Result

_NAME = "dcss"
_NARROWEST = 20  # columns of text
EXIT_REFUTED = 1
EXIT_USAGE = 2
EXIT_FAILED = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
evidence_option = click.option(
    "--evidence",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Write pages, frames, counts and processes to FILE, to compute the verdict again from them.",
)


def csv_option(*tables: str) -> "Callable[[Callable[..., Any]], Callable[..., Any]]":
    """Let a command print one of its tables as CSV: the first one where --csv names none."""
    if len(tables) == 1:
        return click.option("--csv", "csv_table", flag_value=tables[0], help=f"Print the {tables[0]} as CSV.")
    return click.option(
        "--csv",
        "csv_table",
        type=click.Choice(tables),
        is_flag=False,
        flag_value=tables[0],
        metavar="[TABLE]",
        help=f"Print a table as CSV: {', '.join(tables)}; the first if none is named.",
    )


def only_one(**given: object) -> None:
    """Raise UsageError where more than one of these options was given."""
    names = [f"--{name}" for name, value in given.items() if value is not None and value is not False]
    if len(names) > 1:
        raise click.UsageError(f"found {' and '.join(names)}, wanted one of them.")


def print_table(result: "Result", table: str | None) -> None:
    """Write a table of a result to stdout as CSV."""
    print_rows(result.rows(table), result.columns(table))


def print_rows(rows: "Sequence[Mapping[str, Any]]", columns: "Iterable[str]") -> None:
    """Write rows to stdout as CSV, with the names of their columns; bytes of file names pass through."""
    from io import StringIO

    from dcss.report.csv_rows import print_csv

    text = StringIO()
    print_csv(rows, columns, text)
    print_bytes(text.getvalue())


def print_bytes(text: str) -> None:
    """Write text to stdout; a byte that is not UTF-8, decoded as os.fsdecode does, passes through."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


_printed: list[bool] = []  # one entry for each document of this process


def own_command() -> str:
    """Return how this program is called: the path that it was called by where a shell does not find it as dcss."""
    called = sys.argv[0]
    if Path(called).name != _NAME or not os.access(called, os.X_OK):  # python -m dcss, or another program
        return _NAME
    from shutil import which

    found = which(_NAME)
    return _NAME if found is not None and Path(found).samefile(called) else quote(called)


def is_json_printed() -> bool:
    """Return True if a document is on stdout: no second one may follow."""
    return bool(_printed)


def echo_error(line: str) -> None:
    """Write a line to stderr; what it names may have characters that a terminal obeys, and a terminal gets escapes."""
    if sys.stderr.isatty():
        from dcss.report.quoting import escaped

        line = escaped(line)
    click.echo(line, err=True)


def json_begins() -> None:
    """Note that a document is on its way to stdout."""
    _printed.append(True)


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    from dcss.documents import to_json

    json_begins()
    click.echo(to_json(document))


def print_page(page: "Page", stream: TextIO | None = None) -> None:
    """Write a page as text to stdout or to `stream`, in the style that it can show."""
    from dcss.report.layout import render_page
    from dcss.report.style import style_for

    stream = stream or sys.stdout
    text = render_page(page, style_for(stream))
    if text:
        click.echo(text, file=stream)


def print_names(described: "Iterable[tuple[str, str]]") -> None:
    """Write names, each with what it is behind it: in one line, or on a terminal in its width."""
    from shutil import get_terminal_size
    from textwrap import wrap

    rows = list(described)
    indent = max((len(name) for name, _ in rows), default=0) + 2
    columns = get_terminal_size((0, 0)).columns  # 0 where there is no terminal
    for name, text in rows:
        lines = wrap(text, max(columns - indent, _NARROWEST)) if columns else [text]
        click.echo(f"{name:{indent}}{lines[0] if lines else ''}")
        for line in lines[1:]:
            click.echo(" " * indent + line)


def write_whole(path: Path, content: bytes) -> None:
    """Put a file into its place when it is whole."""
    from dcss.host.files import errors_named, write_all, write_durably

    target = Path(os.path.realpath(path))
    with errors_named(path):
        write_durably(target, lambda descriptor: write_all(descriptor, content), mode=0o666)

"""`dcss measure [SYSTEM]`: show what each guest of a running system costs, and what sharing saves."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import json_option, print_json
from dcss.cli.systems import ask, chosen, system_argument
from dcss.cli.watch import watch, watch_option

if TYPE_CHECKING:
    from dcss.report.measure_view import SortKey
    from dcss.report.screen import Frame


@click.command("measure")
@system_argument
@json_option
@watch_option
@click.option(
    "--sort",
    type=click.Choice(["guest", "private", "shared", "total", "copies"], case_sensitive=False),
    help="Sort the guests by a column: names from A, figures from the largest.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every guest.")
def command(
    system: str | None, as_json: bool, watch_seconds: float | None, sort: "SortKey | None", verbose: bool
) -> None:
    """Show what each guest of a running system costs, and what sharing saves.

    \b
    dcss measure
    dcss measure demo --watch
    dcss measure --sort private
    dcss measure demo --watch 0.5 --json    one document per line
    """
    system = chosen(system)
    if watch_seconds is not None:

        def look(rows: int | None, first: bool) -> "Frame":
            return _frame(
                ask(system, "measure", again=True), rows, first=first, as_json=as_json, sort=sort, verbose=verbose
            )

        watch(watch_seconds, look, plain=as_json)
        return
    document = ask(system, "measure")
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(_frame(document, None, first=True, as_json=False, sort=sort, verbose=verbose).body))


def _frame(
    document: dict[str, Any], rows: int | None, *, first: bool, as_json: bool, sort: "SortKey | None", verbose: bool
) -> "Frame":
    """Return one look for a terminal of so many rows; for None the whole page, the first time with its legend."""
    from dcss.documents import from_document
    from dcss.report.layout import render_page
    from dcss.report.pages import measure_frame, measure_page
    from dcss.report.screen import Frame
    from dcss.report.style import style_for
    from dcss.results import MeasureResult

    if as_json:
        return Frame((), (json.dumps(document),), ())
    result, style = from_document(MeasureResult, document), style_for(sys.stdout)
    if rows is not None:
        return measure_frame(result, style, rows, show_all=verbose, sort=sort)
    page = measure_page(result, show_all=verbose, sort=sort, legend=first)
    return Frame((), render_page(page, style).splitlines(), ())

"""`dcss measure [SYSTEM]`: show what each guest of a running system costs, and what sharing saves."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import csv_option, json_option, only_one, print_bytes, print_json, print_table
from dcss.cli.systems import ask, chosen, system_argument
from dcss.cli.watch import watch, watch_option

if TYPE_CHECKING:
    from dcss.report.measure_view import SortKey
    from dcss.report.screen import Frame
    from dcss.results import MeasureResult


@click.command("measure")
@system_argument
@json_option
@watch_option
@click.option(
    "--sort",
    type=click.Choice(["guest", "private", "shared", "total", "copies"], case_sensitive=False),
    help="Sort the guests by a column: names from A, figures from the largest.",
)
@csv_option("guests", "segments", "others")
@click.option("--folded", is_flag=True, help="Print stacks for flame graphs: guest;segment;file bytes.")
@click.option("-v", "--verbose", is_flag=True, help="Show every guest.")
def command(
    system: str | None,
    *,
    as_json: bool,
    watch_seconds: float | None,
    sort: "SortKey | None",
    csv_table: str | None,
    folded: bool,
    verbose: bool,
) -> None:
    """Show what each guest of a running system costs, and what sharing saves.

    \b
    dcss measure
    dcss measure demo --watch
    dcss measure --sort private
    dcss measure demo --watch 0.5 --json    one document per line
    dcss measure demo --csv segments
    dcss measure demo --folded | flamegraph.pl --countname bytes > demo.svg

    With --folded, files are looked at as dcss verify does, which stops each guest for a moment.
    """
    only_one(json=as_json, csv=csv_table, folded=folded)
    only_one(watch=watch_seconds, csv=csv_table, folded=folded)
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
    elif csv_table is not None:
        print_table(_result(document), csv_table)
    elif folded:
        from dcss.documents import from_document
        from dcss.report.folded import folded_stacks
        from dcss.results import VerifyResult

        verdict = from_document(VerifyResult, ask(system, "verify"))
        print_bytes("".join(f"{line}\n" for line in folded_stacks(verdict, _result(document))))
    else:
        click.echo("\n".join(_frame(document, None, first=True, as_json=False, sort=sort, verbose=verbose).body))


def _result(document: dict[str, Any]) -> "MeasureResult":
    from dcss.documents import from_document
    from dcss.results import MeasureResult

    return from_document(MeasureResult, document)


def _frame(
    document: dict[str, Any], rows: int | None, *, first: bool, as_json: bool, sort: "SortKey | None", verbose: bool
) -> "Frame":
    """Return one look for a terminal of so many rows; for None the whole page, the first time with its legend."""
    from dcss.report.layout import render_page
    from dcss.report.pages import measure_frame, measure_page
    from dcss.report.screen import Frame
    from dcss.report.style import style_for

    if as_json:
        return Frame((), (json.dumps(document),), ())
    result, style = _result(document), style_for(sys.stdout)
    if rows is not None:
        return measure_frame(result, style, rows, show_all=verbose, sort=sort)
    page = measure_page(result, show_all=verbose, sort=sort, legend=first)
    return Frame((), render_page(page, style).splitlines(), ())

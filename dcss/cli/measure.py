"""`dcss measure [SYSTEM]`: show what each guest of a running system costs, and what sharing saves."""

import json
import sys
import time
from typing import Any

import click

from dcss.cli.options import json_option, print_json
from dcss.cli.systems import ask, chosen, system_argument

_WATCH_SECONDS = 2.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"


@click.command("measure")
@system_argument
@json_option
@click.option(
    "--watch",
    "watch_seconds",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=_WATCH_SECONDS,
    metavar="[SECONDS]",
    help="Repeat until Ctrl-C, every SECONDS (2 if not given).",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every guest.")
def command(system: str | None, as_json: bool, watch_seconds: float | None, verbose: bool) -> None:
    """Show what each guest of a running system costs, and what sharing saves.

    \b
    dcss measure
    dcss measure demo --watch
    dcss measure demo --watch 0.5 --json    one document per line
    """
    system = chosen(system)
    if watch_seconds is None:
        document = ask(system, "measure")
        if as_json:
            print_json(document)
        else:
            click.echo(_text(document, verbose=verbose))
        return
    while True:
        document = ask(system, "measure")
        if as_json:
            click.echo(json.dumps(document))
        else:
            page = _text(document, verbose=verbose)
            click.echo(_HOME_AND_CLEAR + page if sys.stdout.isatty() else page + "\n")
        sys.stdout.flush()
        time.sleep(watch_seconds)


def _text(document: dict[str, Any], *, verbose: bool) -> str:
    from dcss.documents import from_document
    from dcss.report.layout import render_page
    from dcss.report.pages import measure_page
    from dcss.report.style import style_for
    from dcss.results import MeasureResult

    page = measure_page(from_document(MeasureResult, document), show_all=verbose)
    return render_page(page, style_for(sys.stdout))

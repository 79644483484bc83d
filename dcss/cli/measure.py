"""`dcss measure [SYSTEM]`: what each guest of a running system costs, and what sharing saves."""

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
        form = ask(system, "measure")
        if as_json:
            print_json(form)
        else:
            click.echo(_screen(form, verbose=verbose))
        return
    while True:
        form = ask(system, "measure")
        if as_json:
            click.echo(json.dumps(form))
        else:
            page = _screen(form, verbose=verbose)
            click.echo(_HOME_AND_CLEAR + page if sys.stdout.isatty() else page + "\n")
        sys.stdout.flush()
        time.sleep(watch_seconds)


def _screen(form: dict[str, Any], *, verbose: bool) -> str:
    from dcss.documents import from_document
    from dcss.report.screen import measure_screen
    from dcss.report.style import style_for
    from dcss.results import MeasureResult

    return measure_screen(from_document(MeasureResult, form), style_for(sys.stdout), show_all=verbose)

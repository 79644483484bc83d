"""--watch: repeat what a command shows until Ctrl-C."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dcss.host.interrupts import sleep

if TYPE_CHECKING:
    from dcss.report.screen import Frame

_SECONDS = 2.0
_MOST_SECONDS = 86400.0


class Seconds(click.FloatRange):
    """A number of seconds. Not a number compares with no bound, and would pass both."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; fail where it is none."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return found


watch_option = click.option(
    "--watch",
    "watch_seconds",
    type=Seconds(min=0.1, max=_MOST_SECONDS),
    is_flag=False,
    flag_value=_SECONDS,
    metavar="[SECONDS]",
    help="Repeat until Ctrl-C, every SECONDS (2 if not given).",
)


def watch(seconds: float, look: "Callable[[int | None, bool], Frame]", *, plain: bool) -> None:
    """Show what `look` returns until Ctrl-C; it gets the rows of the terminal, None elsewhere, and if it is the first.

    A terminal shows each look over the one before. Elsewhere one follows the other, with an empty line between; if they
    are `plain`, which JSON is, on a terminal too, and without that line.
    """
    from dcss.report.screen import drawn, rows_of

    first = True
    rows = None
    try:
        while True:
            rows = None if plain else rows_of(sys.stdout)
            frame = look(rows, first)
            if rows is None:
                click.echo("\n".join([*frame.head, *frame.body, *frame.foot]) + ("" if plain else "\n"))
            else:
                click.echo(drawn(frame, rows), nl=False)
            sys.stdout.flush()
            first = False
            sleep(seconds)
    except KeyboardInterrupt:
        if rows is not None:
            click.echo()  # the prompt comes below the last look
        raise

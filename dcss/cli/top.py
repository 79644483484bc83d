"""`dcss top [SYSTEM]`: a live screen of a running system, or one JSON line for each look."""

import json
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dcss.cli.options import echo_error, json_begins, json_option
from dcss.cli.systems import chosen, live_system, system_argument
from dcss.cli.watch import Seconds
from dcss.host.interrupts import sleep

if TYPE_CHECKING:
    from dcss.cli.key_screen import KeyScreen
    from dcss.report.top_view import TopChoice
    from dcss.results import SystemActivity
    from dcss.rpc.look import LiveSystem, SystemLook

_SECONDS = 1.0


@click.command("top")
@system_argument
@click.option(
    "--interval",
    "seconds",
    type=Seconds(min=0.1, max=86400.0),
    default=_SECONDS,
    metavar="SECONDS",
    help="The time between looks (1 if not given).",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N looks.")
@click.option(
    "--sort",
    type=click.Choice(["private", "growth", "calls", "restarts", "guest"], case_sensitive=False),
    default="private",
    help="Begin with the guests sorted so: figures from the largest, names from A.",
)
@json_option
def command(system: str | None, seconds: float, count: int | None, sort: str, as_json: bool) -> None:
    """Show a running system live: guests, segments, hypercalls, and what CP costs.

    \b
    p g c r n   sort by private memory, growth, hypercalls a second,
                restarts, name; o turns the order around
    /           show only guests in whose name, state, engine or segments
                a text occurs: type it, Enter keeps it, Esc leaves it
    f           fold guests whose names differ by a number into one row
    s           show segments or hide them
    up down     scroll; also Page Up and Page Down, j and k
    q           quit

    In a pipe, and with --json, each look is one JSON document in a line. This reads what CP keeps in shared memory, and
    the guests' memory from /proc: CP has no work with it.
    """
    from dcss.report.screen import rows_of

    name = chosen(system)
    with live_system(name) as live:
        looks = _Looks(live, seconds, count)
        if as_json or rows_of(sys.stdout) is None:
            _print_lines(looks)
        else:
            _show(looks, sort)
        if not live.lives:
            echo_error(f"{name}: its CP (process {live.pid}) has ended")


class _Looks:
    """The looks at one system: when the next one is due, and what has happened since the one before."""

    def __init__(self, live: "LiveSystem", seconds: float, count: int | None) -> None:
        self._live, self._seconds, self._left = live, seconds, count
        self._before: SystemLook | None = None
        self._due_at = time.monotonic()

    @property
    def wait_seconds(self) -> float:
        """For how long to wait before the next look."""
        return self._due_at - time.monotonic()

    @property
    def are_over(self) -> bool:
        """There is none to come: enough were taken, or CP has ended."""
        return self._left == 0 or not self._live.lives

    def take(self) -> "SystemActivity":
        """Take the next look. Raises StatisticsError."""
        from dcss.rpc.activity import activity

        look = self._live.look()
        found = activity(self._before, look)
        self._before = look
        self._left = None if self._left is None else self._left - 1
        self._due_at = max(self._due_at + self._seconds, time.monotonic())
        return found


def _print_lines(looks: _Looks) -> None:
    from dcss.documents import to_document

    json_begins()
    while not looks.are_over:
        click.echo(json.dumps(to_document(looks.take())))
        sys.stdout.flush()
        if not looks.are_over:
            sleep(looks.wait_seconds)


def _show(looks: _Looks, sort: str) -> None:
    from dcss.cli.key_screen import KeyScreen
    from dcss.report.top_view import SORTS, TopChoice

    choice: TopChoice | None = TopChoice(sort=next(each for each in SORTS if each == sort.lower()))
    with KeyScreen(sys.stdout, sys.stdin) as screen:
        while choice is not None and not looks.are_over:
            choice = _until_due(looks, looks.take(), screen, choice)


def _until_due(looks: _Looks, look: "SystemActivity", screen: "KeyScreen", choice: "TopChoice") -> "TopChoice | None":
    """Show one look, and what keys make of it, until the next one is due; return None when the user quits."""
    from dcss.cli.top_keys import changed

    while True:
        _draw(look, screen, choice)
        keys = screen.wait(looks.wait_seconds)
        if keys is None or looks.are_over:
            return choice
        for key in keys:
            if key == "q" and choice.typed is None:
                return None
            choice = changed(look, choice, key, screen.size[1])


def _draw(look: "SystemActivity", screen: "KeyScreen", choice: "TopChoice") -> None:
    from dcss.report.screen import Frame, drawn
    from dcss.report.style import style_for
    from dcss.report.top_view import screen_lines

    columns, rows = screen.size
    style = replace(style_for(sys.stdout), width=None)  # the terminal cuts what is wider
    click.echo(drawn(Frame((), screen_lines(look, choice, style, columns, rows), ()), rows), nl=False)
    sys.stdout.flush()

"""`dcss ps [SYSTEM]`: which systems run, and how their guests stand."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import json_option, print_json
from dcss.cli.systems import ANSWER_SECONDS, system_argument
from dcss.errors import ConfigError, LaunchError

if TYPE_CHECKING:
    from dcss.rpc.client import FoundSystem


@click.command("ps")
@system_argument
@json_option
def command(system: str | None, as_json: bool) -> None:
    """Show the running systems and their guests.

    \b
    STATE     waiting (for its `after:`), starting, running (its `run:` list),
              ready (the list succeeded), failed, killed, stopped, restarting
    PRIVATE   memory that only this guest's process maps, emulator included

    Without SYSTEM, all systems of this user are shown. If none runs, the exit status is 0.
    """
    from dcss.rpc.client import Client, Life, find_systems

    found = [each for each in find_systems() if system in {None, each.name}]
    if system is not None and not found:
        raise ConfigError(f"system {system}: found none of that name, wanted one that runs: dcss ps lists them")
    forms = []
    for each in found:
        if each.life is not Life.UP:
            continue
        try:
            with Client(each.name) as client:
                forms.append(client.ask("ps", timeout_seconds=ANSWER_SECONDS))
        except (ConfigError, LaunchError):
            if system is not None:  # otherwise it has ended since it was found
                raise
    private = [_private_bytes(form) for form in forms]
    rest = [each for each in found if each.life is not Life.UP]
    if as_json:
        for form, sizes in zip(forms, private, strict=True):
            for guest in form["guests"]:
                guest["private_bytes"] = sizes.get(guest["name"])
        others = [{"system": each.name, "state": each.life.value, "pid": each.pid} for each in rest]
        print_json({"systems": [*forms, *others]})
        return
    _show(forms, private)
    for each in rest:
        click.echo(_standing(each))
    if not found:
        click.echo("no system runs")


def _standing(found: "FoundSystem") -> str:
    """Return the line of a system that cannot be asked."""
    from dcss.rpc.client import Life

    cp = f"{found.name}: its CP (process {found.pid or 'unknown'})"
    if found.life is Life.STARTING:
        return f"{cp} is about to start"
    clean_up = f"dcss down {found.name} removes what it left, and so does its next start"
    try:
        log = (found.directory / "cp.log").read_text("utf-8", "replace").splitlines()
    except OSError:
        log = []
    return f"{cp} is dead; {clean_up}" + (f"; its log ends: {log[-1]}" if log else "")


def _private_bytes(form: Mapping[str, Any]) -> dict[str, int | None]:
    """Return each living guest's private memory; read here, so that CP does not stop for it."""
    from dcss.account.smaps import read_rollup
    from dcss.errors import MeasurementDeniedError

    sizes: dict[str, int | None] = {}
    for guest in form["guests"]:
        if guest["pid"] is None:
            continue
        try:
            rollup = read_rollup(guest["pid"])
            sizes[guest["name"]] = rollup["Private_Clean"] + rollup["Private_Dirty"]
        except (LaunchError, MeasurementDeniedError, KeyError):
            sizes[guest["name"]] = None
    return sizes


def _show(forms: list[dict[str, Any]], private: list[dict[str, int | None]]) -> None:
    from dcss.report.standing_view import here_and_now, system_lines
    from dcss.report.style import style_for

    style, now = style_for(sys.stdout), here_and_now()
    for number, (form, sizes) in enumerate(zip(forms, private, strict=True)):
        if number:
            click.echo()
        for line in system_lines(form, sizes, now, style):
            click.echo(line)

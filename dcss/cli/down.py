"""`dcss down [SYSTEM]`: take a system down and remove all that it made."""

import time
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import json_option, print_json
from dcss.cli.systems import chosen, system_argument
from dcss.errors import ConfigError

if TYPE_CHECKING:
    from dcss.rpc.client import FoundSystem

DOWN_SECONDS = 300.0


@click.command("down")
@system_argument
@click.option("--all", "everything", is_flag=True, help="Take down every system of this user.")
@json_option
def command(system: str | None, everything: bool, as_json: bool) -> None:
    """Take a system down: its guests, its shared memory, its CP.

    \b
    dcss down           the only running system
    dcss down demo      the system demo
    dcss down --all     all systems of this user

    The command also removes what a killed CP left behind. If nothing runs, that is not an error.
    """
    from dcss.rpc.client import Life, find_systems

    if everything and system is not None:
        raise ConfigError(f"dcss down: found both --all and {system}, wanted one of them")
    found = {each.name: each for each in find_systems()}
    if system is not None:
        wanted = [found[system]] if system in found else []
    elif everything or all(each.life is Life.DEAD for each in found.values()):
        wanted = list(found.values())
    else:
        wanted = [found[chosen(None)]]
    results = [_take_down(each) for each in wanted]
    if everything or (system is not None and not wanted):
        results += _swept(system)
    if as_json:
        print_json({"systems": results})
        return
    for result in results:
        click.echo(_sentence(result))
    if not results:
        click.echo(f"system {system} does not run" if system is not None else "no system runs")


def _take_down(found: "FoundSystem") -> dict[str, Any]:
    from dcss.rpc.client import Client, Life

    began = time.monotonic()
    if found.life is Life.DEAD:
        from dcss.cp.lock import SystemLock
        from dcss.cp.sweep import sweep

        with SystemLock(found.name) as lock:
            removed = sweep(lock)
        return _dead(found.name, removed, began)
    with Client(found.name) as client:
        guests = client.take_down(DOWN_SECONDS)["guests"]
    return {"system": found.name, "was": "up", "guests": guests, "removed": [], "seconds": _since(began)}


def _swept(system: str | None) -> list[dict[str, Any]]:
    """Remove shared memory of `system`, or of all systems, whose CP and runtime directory are gone."""
    from dcss.cp.sweep import sweep_all

    began = time.monotonic()
    return [_dead(name, removed, began) for name, removed in sweep_all(system).items()]


def _dead(system: str, removed: tuple[str, ...], began: float) -> dict[str, Any]:
    return {"system": system, "was": "dead", "guests": 0, "removed": removed, "seconds": _since(began)}


def _sentence(result: dict[str, Any]) -> str:
    from dcss.report.units import fmt_count, fmt_seconds

    if result["was"] == "dead":
        left = fmt_count(len(result["removed"]), "thing")
        return f"{result['system']}: its CP was dead; {left} that it left removed"
    return f"{result['system']}: down in {fmt_seconds(result['seconds'])}, {fmt_count(result['guests'], 'guest')} ended"


def _since(began: float) -> float:
    return time.monotonic() - began

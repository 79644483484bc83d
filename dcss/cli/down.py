"""`dcss down [SYSTEM]`: take a system down and remove all that it made."""

import time
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import EXIT_FAILED, echo_error, json_option, print_json
from dcss.cli.systems import chosen, for_each, running_systems, system_argument
from dcss.errors import ConfigError, DcssError
from dcss.suggest import suggestion

if TYPE_CHECKING:
    from dcss.rpc.client import FoundSystem

Result = dict[str, Any]


@click.command("down")
@system_argument
@click.option("--all", "everything", is_flag=True, help="Take down every system of this user.")
@json_option
def command(system: str | None, everything: bool, as_json: bool) -> int:
    """Take a system down: its guests, its shared memory, its CP.

    \b
    dcss down           the only running system
    dcss down demo      the system demo
    dcss down --all     all systems of this user

    The command also removes what a killed CP left behind. If nothing runs, that is not an error.

    Exit status: 3 a system could not be taken down, since its CP does not answer for one; the others are down.
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
    results = [result for result in for_each(_take_down, wanted) if result is not None]
    if everything or (system is not None and not wanted):
        results += _swept(system)
    if as_json:
        print_json({"systems": results})
    else:
        _show(results, system)
    return EXIT_FAILED if any(result["error"] for result in results) else 0


def _take_down(found: "FoundSystem") -> Result | None:
    """Take one system down; None if it went by itself meanwhile."""
    from dcss.cp.sweep import remove_left
    from dcss.rpc.client import Client, Life
    from dcss.rpc.watch import EndedError

    began = time.monotonic()
    was = "dead" if found.life is Life.DEAD else "up"
    guests, error = 0, None
    removed: tuple[str, ...] = ()
    try:
        if found.life is not Life.DEAD:
            try:
                with Client(found.name) as client:
                    guests = client.take_down()["guests"]
            except EndedError:
                was = "dead"
        if was == "dead":
            removed = remove_left(found.name)
    except ConfigError:
        return None
    except DcssError as raised:
        error = str(raised)
    return _result(found.name, was, began, guests=guests, removed=removed, error=error)


def _swept(system: str | None) -> list[Result]:
    """Remove shared memory of `system`, or of all systems, whose CP and runtime directory are gone."""
    from dcss.cp.sweep import sweep_all

    began = time.monotonic()
    return [_result(name, "dead", began, removed=removed) for name, removed in sweep_all(system).items()]


def _result(
    system: str, was: str, began: float, *, guests: int = 0, removed: tuple[str, ...] = (), error: str | None = None
) -> Result:
    seconds = time.monotonic() - began
    return {"system": system, "was": was, "guests": guests, "removed": removed, "seconds": seconds, "error": error}


def _show(results: list[Result], system: str | None) -> None:
    for result in results:
        if result["error"]:
            echo_error(f"dcss: {result['error']}")
        else:
            click.echo(_sentence(result))
    if not results:
        near = suggestion(system or "", running_systems())
        click.echo(f"system {system} does not run{near}" if system is not None else "no system runs")


def _sentence(result: Result) -> str:
    from dcss.report.units import fmt_count, fmt_seconds

    if result["was"] == "dead":
        left = fmt_count(len(result["removed"]), "thing")
        return f"{result['system']}: its CP was dead; {left} that it left removed"
    return f"{result['system']}: down in {fmt_seconds(result['seconds'])}, {fmt_count(result['guests'], 'guest')} ended"

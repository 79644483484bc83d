"""`dcss guest start|stop|restart NAME`: one guest of a running system."""

from typing import Any

import click

from dcss.cli.options import EXIT_FAILED, json_option, print_json
from dcss.cli.systems import chosen, guest_argument, system_option


@click.group("guest")
def command() -> None:
    """Start, stop or restart one guest of a running system.

    \b
    dcss guest stop LINUX01
    dcss guest start LINUX01 --system demo
    dcss guest restart LINUX01
    """


@command.command("start")
@guest_argument
@system_option
@json_option
def start(guest: str, system: str | None, as_json: bool) -> int:
    """Start a guest that has no process, and wait until its `run:` list has ended.

    Exit status: 0 the guest is ready; 3 it failed.
    """
    return _act("start", guest, system, as_json=as_json)


@command.command("stop")
@guest_argument
@system_option
@json_option
def stop(guest: str, system: str | None, as_json: bool) -> int:
    """Stop a guest at once, as CP's FORCE does. Its restart policy does not start it again."""
    return _act("stop", guest, system, as_json=as_json)


@command.command("restart")
@guest_argument
@system_option
@json_option
def restart(guest: str, system: str | None, as_json: bool) -> int:
    """Stop a guest, start it again, and wait until its `run:` list has ended.

    Exit status: 0 the guest is ready; 3 it failed.
    """
    return _act("restart", guest, system, as_json=as_json)


def _act(action: str, guest: str, system: str | None, *, as_json: bool) -> int:
    from dcss.rpc.client import Client

    with Client(chosen(system)) as client:
        # Without a limit of time: a `run:` list takes as long as it takes.
        form: dict[str, Any] = client.ask("guest", guest=guest, action=action)
    if as_json:
        print_json(form)
    else:
        for line in (form["reason"] or "").splitlines():
            click.echo(line, err=True)
        click.echo(f"{form['name']}: {form['state']}")
    return 0 if form["state"] == ("stopped" if action == "stop" else "ready") else EXIT_FAILED

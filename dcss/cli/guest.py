"""`dcss guest start|stop|restart NAME`: act on one guest of a running system."""

import sys
from typing import TYPE_CHECKING

import click

from dcss.cli.groups import CommandGroup
from dcss.cli.options import EXIT_FAILED, json_option, print_json, print_page
from dcss.cli.systems import chosen, guest_argument, system_option

if TYPE_CHECKING:
    from dcss.results import GuestStatus


@click.group("guest", cls=CommandGroup)
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
    """Start a guest unless it has a process, and wait until its `run:` list has ended.

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
    from dcss.documents import from_document
    from dcss.results import GuestStatus
    from dcss.rpc.client import Client

    with Client(chosen(system)) as client:
        document = client.ask("guest", guest=guest, action=action)  # no limit of time: a `run:` list may be long
    status = from_document(GuestStatus, document)
    if as_json:
        print_json(document)
    else:
        _show(status)
    return 0 if status.state == ("stopped" if action == "stop" else "ready") else EXIT_FAILED


def _show(status: "GuestStatus") -> None:
    from dcss.report.failure_view import failure_notes, is_failed, status_failures

    failures = status_failures([status]) if is_failed(status) else []
    print_page([list(failure_notes(failures, show_all=True, more=""))], sys.stderr)
    click.echo(f"{status.name}: {status.state}")

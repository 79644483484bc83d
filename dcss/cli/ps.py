"""`dcss ps [SYSTEM]`: show the running systems and the states of their guests."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dcss.cli.options import csv_option, echo_error, json_option, only_one, print_json, print_page, print_rows
from dcss.cli.systems import for_each, system_argument
from dcss.cli.watch import watch, watch_option
from dcss.errors import ConfigError, LaunchError
from dcss.suggest import suggestion

if TYPE_CHECKING:
    from dcss.report.blocks import Page
    from dcss.report.screen import Frame
    from dcss.results import SystemStatus
    from dcss.rpc.client import FoundSystem


@click.command("ps")
@system_argument
@json_option
@watch_option
@csv_option("guests", "segments")
def command(system: str | None, *, as_json: bool, watch_seconds: float | None, csv_table: str | None) -> None:
    """Show the running systems and their guests.

    \b
    STATE     waiting (for its `after:`), starting, running (its `run:`
              list), ready (the list succeeded), failed, killed, stopped,
              restarting
    PRIVATE   memory that only this guest's process maps, emulator included

    A system whose CP does not answer, since it was stopped for one, is shown as not answering.

    Without SYSTEM, all systems of this user are shown. If none runs, the exit status is 0.
    """
    only_one(json=as_json, csv=csv_table)
    only_one(watch=watch_seconds, csv=csv_table)
    if watch_seconds is not None:
        watch(watch_seconds, partial(_frame, system, as_json=as_json), plain=as_json)
        return
    look = _look(system)
    if as_json:
        print_json(look.document())
    elif csv_table is not None:
        from dcss.documents import columns_of
        from dcss.results import SegmentStatus
        from dcss.schemas.shapes import GuestLook

        systems = look.document()["systems"]
        rows = [{"system": each["system"], **row} for each in systems for row in each.get(csv_table, ())]
        print_rows(rows, ["system", *columns_of(GuestLook if csv_table == "guests" else SegmentStatus)])
    else:
        print_page(look.page())


def _frame(system: str | None, rows: int | None, first: bool, *, as_json: bool) -> "Frame":
    """Return one look of --watch."""
    del rows, first
    from dcss.report.layout import render_page
    from dcss.report.screen import Frame
    from dcss.report.style import style_for

    look = _look(system)
    if as_json:
        return Frame((), (json.dumps(look.document()),), ())
    return Frame((), render_page(look.page(), style_for(sys.stdout)).splitlines(), ())


def _look(system: str | None) -> "_Look":
    """Ask one system or all. Raises ConfigError where the one does not run."""
    from dcss.results import SystemStatus
    from dcss.rpc.client import find_systems

    found = [each for each in find_systems() if system in {None, each.name}]
    if system is not None and not found:
        near = suggestion(system, (each.name for each in find_systems()))
        raise ConfigError(f"system {system}: found none of that name, wanted one that runs: dcss ps lists them{near}")
    asked = for_each(partial(_status, may_be_gone=system is None), found)
    statuses = [answer for answer in asked if isinstance(answer, SystemStatus)]
    others = [answer for answer in asked if isinstance(answer, NotRunning)]
    return _Look(statuses, [_private_bytes(status) for status in statuses], others)


class NotRunning(NamedTuple):
    """A system that has no status: its document, and the line about it."""

    document: dict[str, Any]
    line: str


class _Look(NamedTuple):
    """What was found of the systems that run, with the private memory of their guests, and of the others."""

    statuses: Sequence["SystemStatus"]
    private: Sequence[dict[str, int | None]]
    others: Sequence[NotRunning]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        from dcss.documents import to_document

        documents = [to_document(status) for status in self.statuses]
        for document, sizes in zip(documents, self.private, strict=True):
            for guest in document["guests"]:
                guest["private_bytes"] = sizes.get(guest["name"])
        return {"systems": [*documents, *(each.document for each in self.others)]}

    def page(self) -> "Page":
        """Return the systems that run and, right after the last of them, lines about others."""
        from dcss.report.blocks import Note
        from dcss.report.status_view import local_time, status_section

        now = local_time()
        looks = zip(self.statuses, self.private, strict=True)
        sections = [status_section(status, sizes, now) for status, sizes in looks] or [[]]
        nothing = [] if self.statuses or self.others else ["no system runs"]
        sections[-1] += [Note(line) for line in [*(each.line for each in self.others), *nothing]]
        return sections


def _status(found: "FoundSystem", *, may_be_gone: bool) -> "SystemStatus | NotRunning | None":
    """Return a system's status; None if it has ended since it was found, and may be gone."""
    from dcss.rpc.client import Life
    from dcss.rpc.watch import NotAnsweringError

    if found.life is not Life.UP:
        return NotRunning({"system": found.name, "state": found.life.value, "pid": found.pid}, _not_running(found))
    try:
        return _running_status(found)
    except NotAnsweringError as error:
        document = {"system": found.name, "state": "not answering", "pid": found.pid, "reason": str(error)}
        return NotRunning(document, f"{found.name}: not answering: {str(error).removeprefix(f'system {found.name}: ')}")
    except (ConfigError, LaunchError):
        if not may_be_gone:
            raise
        return None


def _running_status(found: "FoundSystem") -> "SystemStatus":
    """Read a system's status from its statistics area; ask CP where that cannot be read, or CP stands still."""
    from dcss.documents import from_document
    from dcss.host.process import is_stopped
    from dcss.results import SystemStatus
    from dcss.rpc.area_files import StatisticsError
    from dcss.rpc.client import Client
    from dcss.rpc.statistics import StatisticsReader, status_of

    problem = None
    if found.pid is not None and not is_stopped(found.pid):
        try:
            with StatisticsReader(found.name, found.pid) as reader:
                return status_of(reader.read(), found.directory)
        except StatisticsError as error:
            problem = error
    with Client(found.name) as client:
        status = from_document(SystemStatus, client.ask("ps"))
    if problem is not None:
        echo_error(f"dcss: warning: {problem}; its CP was asked instead")
    return status


def _private_bytes(status: "SystemStatus") -> dict[str, int | None]:
    """Return each living guest's private memory; this process reads it, so that CP need not."""
    from dcss.account.smaps import private_bytes

    return {guest.name: private_bytes(guest.pid) for guest in status.guests if guest.pid is not None}


def _not_running(found: "FoundSystem") -> str:
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

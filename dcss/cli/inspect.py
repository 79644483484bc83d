"""`dcss inspect PID…`: prove what anybody's processes share, and show what each costs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.options import (
    EXIT_REFUTED,
    csv_option,
    evidence_option,
    json_option,
    only_one,
    print_json,
    print_page,
    print_table,
)
from dcss.cli.watch import watch, watch_option
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.report.screen import Frame
    from dcss.results import InspectResult

_MOST_PROCESSES = 1 << 22  # PID_MAX_LIMIT of Linux


@click.command("inspect")
@click.argument("pids", metavar="PID...", nargs=-1, required=True, type=click.IntRange(1, _MOST_PROCESSES))
@click.option("--file", "files", multiple=True, metavar="PATH", help="Look at this file; may be given several times.")
@click.option(
    "--object",
    "objects",
    multiple=True,
    metavar="NAME",
    help="Look at this shared memory object, as maps call it; may be given several times.",
)
@json_option
@csv_option("processes", "objects", "claims")
@evidence_option
@watch_option
@click.option("-v", "--verbose", is_flag=True, help="Show every file and every other process.")
def command(
    pids: tuple[int, ...],
    files: tuple[str, ...],
    objects: tuple[str, ...],
    *,
    as_json: bool,
    csv_table: str | None,
    evidence: Path | None,
    watch_seconds: float | None,
    verbose: bool,
) -> int:
    """Prove what anybody's processes share, and show what each of them costs.

    \b
    dcss inspect 4711 4712
    dcss inspect 4711 4712 --file /srv/disk.img
    dcss inspect 4711 --object /my-shared-memory --json
    dcss inspect 4711 4712 --watch 5
    dcss inspect 4711 4712 --csv processes

    Without --file and --object: all files and shared memory objects that two of them or more map. Nothing is
    stopped and nothing runs in the processes: they are looked at until two looks in a row see the same.

    Exit status: 0 verified; 1 refuted or unproved.
    """
    only_one(json=as_json, csv=csv_table)
    only_one(watch=watch_seconds, csv=csv_table)
    only_one(watch=watch_seconds, evidence=evidence)
    if len(set(pids)) == 1 and not files and not objects:
        raise click.UsageError("found one PID, wanted two or more, or --file or --object to look for.")
    if watch_seconds is None:
        result = _once(pids, files, objects, evidence)
        _show(result, csv_table, as_json=as_json, verbose=verbose)
        return 0 if result.verify.verdict == "verified" else EXIT_REFUTED

    from dcss.inspect.inspection import inspect_processes
    from dcss.inspect.processes import NamedProcesses
    from dcss.inspect.selection import Wanted

    def look(rows: int | None, first: bool) -> "Frame":
        result = inspect_processes(processes, Wanted(files, objects))
        return _frame(result, rows, first=first, as_json=as_json, verbose=verbose)

    with NamedProcesses(pids) as processes:
        watch(watch_seconds, look, plain=as_json)
    return 0


def _once(
    pids: tuple[int, ...], files: tuple[str, ...], objects: tuple[str, ...], evidence: Path | None
) -> "InspectResult":
    if evidence is not None:
        check_written_path("--evidence", evidence)
    from dcss.inspect.inspection import inspect
    from dcss.inspect.selection import Wanted

    return inspect(pids, Wanted(files, objects), evidence_path=evidence)


def _show(result: "InspectResult", csv_table: str | None, *, as_json: bool, verbose: bool) -> None:
    if as_json:
        print_json(result.to_document())
    elif csv_table is not None:
        print_table(result.verify if csv_table == "claims" else result, csv_table)
    else:
        from dcss.report.pages import inspect_page

        print_page(inspect_page(result, show_all=verbose))


def _frame(result: "InspectResult", rows: int | None, *, first: bool, as_json: bool, verbose: bool) -> "Frame":
    """Return one look for a terminal of so many rows; for None the whole page, the first time with its legend."""
    from dcss.documents import to_document
    from dcss.report.layout import render_page
    from dcss.report.pages import inspect_frame, inspect_page
    from dcss.report.screen import Frame
    from dcss.report.style import style_for

    if as_json:
        return Frame((), (json.dumps(to_document(result)),), ())
    style = style_for(sys.stdout)
    if rows is not None:
        return inspect_frame(result, style, show_all=verbose)
    return Frame((), render_page(inspect_page(result, show_all=verbose, legend=first), style).splitlines(), ())

"""`dcss segment`: saved segments, for scripts: define, save, load, query, purge, import, export."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcss.abi.page import PAGE_SIZE
from dcss.cli.groups import CommandGroup
from dcss.cli.operator import exit_status, operator_of, perform, response_document, shell_hints, system_option
from dcss.cli.options import csv_option, json_option, only_one, print_json, print_rows
from dcss.cli.sizes import SizeType
from dcss.cli.spools import command as spools

if TYPE_CHECKING:
    from dcss.cp.requests import FileSelection, Response
    from dcss.progress import Progress, Unit

Row = dict[str, Any]  # of a segment, as `--json` shows it
_path = click.Path(path_type=Path)
_CONTENT = {
    "as-saved": "content as saved",
    "as-published": "content as published, which is not saved",
    "written-by-cp": "CP has written into its content (STORE NSS)",
    "written-by-guests": "content as guests wrote it, or write it now",
}
_TYPES = ("SW", "EW", "SR", "ER", "SN", "EN", "SC")


@click.group("segment", cls=CommandGroup)
def command() -> None:
    """Define, save, load, query, purge, import and export segments.

    Saved segments are kept in a system's spool, also after the system has ended.

    \b
    dcss segment define LIB "20000-23FFF SR"
    dcss segment save LIB --image ./tree
    dcss segment query --users
    dcss segment export LIB lib.img

    If the system's CP runs, it does the work; otherwise this command acts as CP until it ends.

    Exit status: 1 CP refused the command; its message is on stdout.
    """


@command.command("define")
@click.argument("name")
@click.argument("ranges", nargs=-1, required=True, metavar="RANGES...")
@click.option("--loadnshr", is_flag=True, help="Any guest may load it non-shared.")
@click.option("--rstd", is_flag=True, help="Restricted: only guests with it in their `namesave:` may load it.")
@click.option("--secure", is_flag=True, help="Stored and shown, without effect.")
@system_option
@json_option
def define(
    *, name: str, ranges: tuple[str, ...], loadnshr: bool, rstd: bool, secure: bool, system: str, as_json: bool
) -> int:
    """Define a segment (DEFSEG). Each range has its first and last page in hex, and a type.

    \b
    dcss segment define LIB 20000-23FFF SR
    dcss segment define DATA "30000-300FF EW" "30100-301FF EN"

    The segment is a skeleton until it is saved. Until then, an older segment of that name stays available.
    """
    from dcss.cp import requests
    from dcss.cp.console.definition import parse_definition

    options = [word for word, given in (("LOADNSHR", loadnshr), ("RSTD", rstd), ("SECURE", secure)) if given]
    with operator_of(system) as operator:
        words = " ".join([name, *ranges, *options]).upper().split()
        response = perform(operator, lambda: requests.Define(parse_definition(words)))
        return _show(system, response, as_json=as_json)


@command.command("save")
@click.argument("name")
@click.option("--image", type=_path, metavar="SRC", help="The content: a directory, a tar or an ext2 image.")
@system_option
@json_option
def save(name: str, image: Path | None, system: str, as_json: bool) -> int:
    """Save a defined segment (SAVESEG). Without --image, its pages are zeros, which a guest can fill.

    With --image, NAME may be several segments that adjoin (LIBS1:LIBS2): the file system lies over all of them.

    CP never replaces content with zeros: if NAME has content, --image is required.

    Guests that use an older segment of that name keep it until they unload it. New loads get the new segment.
    """
    from dcss.cp import requests
    from dcss.cp.console.definition import parse_name

    with _progress() as progress, operator_of(system, on_interrupt=progress.stop) as operator:
        if image is None:
            response = perform(operator, lambda: requests.Save(parse_name(name.upper())))
        else:
            from dcss.cli.segment_files import save_image

            response = save_image(operator, name, image, progress)
    return _show(system, response, as_json=as_json)


@command.command("load")
@click.argument("name")
@system_option
@json_option
def load(name: str, system: str, as_json: bool) -> int:
    """Load a segment into storage, check its digest, and report whether its content is as it was saved.

    A running system keeps it in storage, ready for guests. If CP (STORE NSS) or guests have written into it, the
    content differs from what was saved, and the command says so. A damaged segment is set aside and reported.
    """
    from dcss.cp import requests
    from dcss.cp.console.definition import parse_name

    with _progress() as progress, operator_of(system, on_interrupt=progress.stop) as operator:
        progress.phase(f"load {name.upper()}")
        response = perform(operator, lambda: requests.Load(parse_name(name.upper())))
    return _show(system, response, lambda row: _CONTENT[row["content"]], as_json=as_json)


@command.command("query")
@click.argument("name", required=False)
@click.option("--users", "form", flag_value="USERS", help="Show which guests use which version.")
@click.option("--attributes", "form", flag_value="ATTRIBUTES", help="Show LOADNSHR, RSTD and SECURE.")
@system_option
@json_option
@csv_option("segments")
def query(name: str | None, form: str | None, system: str, *, as_json: bool, csv_table: str | None) -> int:
    """Show the segments, or those called NAME, as QUERY NSS does: pages, type, class and number of users.

    \b
    CL   S defined but not saved, A available, R restricted, P replaced or
         purged, and gone with its last user
    """
    from dcss.cp import requests

    only_one(json=as_json, csv=csv_table)
    shown = requests.QueryForm(form or "MAP")
    with operator_of(system) as operator:
        response = perform(operator, lambda: requests.Query(_selection(name), shown))
        if csv_table is not None and not response.return_code:
            from dcss.documents import columns_of
            from dcss.schemas.shapes import SegmentFile

            print_rows(response.data or [], columns_of(SegmentFile))
            return exit_status(response)
        return _show(system, response, as_json=as_json)


@command.command("purge")
@click.argument("name", required=False)
@click.option("--all", "purge_all", is_flag=True, help="Purge every segment of the system, skeletons included.")
@system_option
@json_option
def purge(name: str | None, purge_all: bool, system: str, as_json: bool) -> int:
    """Purge a segment, its skeleton included (PURGE NSS). Guests that use it keep it until they unload it."""
    if (name is None) is not purge_all:
        raise click.UsageError("wanted a NAME, or --all.")
    from dcss.cp import requests

    with operator_of(system) as operator:
        response = perform(operator, lambda: requests.Purge(_selection(name)))
        return _show(system, response, as_json=as_json)


@command.command("import")
@click.argument("file", type=_path)
@click.option("--name", metavar="NAME", help="A new name for the segment.")
@click.option("--at", "address", type=SizeType(), metavar="ADDRESS", help="A new address for its first byte.")
@click.option("--type", "kind", type=click.Choice(_TYPES, case_sensitive=False), help="Type, if FILE has no manifest.")
@click.option("--as-is", is_flag=True, help="Take FILE for a segment's content, whatever is in it.")
@system_option
@json_option
def import_command(
    *, file: Path, name: str | None, address: int | None, kind: str | None, as_is: bool, system: str, as_json: bool
) -> int:
    """Define and save a segment from a file of `dcss segment export`, and check its digest.

    A file that was exported from several segments becomes these again.

    \b
    dcss segment import lib.img
    dcss segment import lib.img --name LIB2 --at 0x30000000
    dcss segment import any.img --name LIB --at 512M --type SR

    A tar, a compressed file, a disk image or a file system other than ext2 is refused, with what to do first, unless it
    has a manifest or --as-is is given.
    """
    from dataclasses import replace

    from dcss.cli.segment_files import imports_of, joint_response

    imports = imports_of(file, name, address, kind, as_is=as_is)
    with _progress() as progress, operator_of(system, on_interrupt=progress.stop) as operator:
        names = ":".join(each.definition.name for each in imports)
        progress.phase(f"import {names}", file.stat().st_size, "bytes")
        response = joint_response(operator.perform(replace(each, advance=progress.advance)) for each in imports)
    return _show(system, response, as_json=as_json)


@command.command("export")
@click.argument("name")
@click.argument("file", type=_path)
@system_option
@json_option
def export(name: str, file: Path, system: str, as_json: bool) -> int:
    """Write a segment's saved content to FILE, and its description to FILE.manifest.

    \b
    dcss segment export LIB lib.img
    dcss segment export LIBS1:LIBS2 libs.img

    NAME may be several segments that adjoin. FILE has their contents one behind the other: the whole file system.
    """
    from dcss.cp import requests
    from dcss.cp.console.definition import parse_names

    with _progress() as progress, operator_of(system, on_interrupt=progress.stop) as operator:
        progress.phase(f"export {name.upper()}")
        response = perform(operator, lambda: requests.Export(parse_names(name.upper()), file))
    return _show(system, response, lambda _: f"written to {file}", as_json=as_json, file=str(file))


def _selection(name: str | None) -> "FileSelection":
    from dcss.cp import requests
    from dcss.cp.console.definition import parse_name

    return requests.ALL_FILES if name is None else requests.FileSelection(name=parse_name(name.upper()))


class _StoppableProgress:
    """Shows the progress of a copy in a thread, which `stop` cuts short."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._stopped = False

    def phase(self, name: str, total: int | None = None, unit: "Unit | None" = None) -> None:
        self._progress.phase(name, total, unit)

    def advance(self, amount: int = 1) -> None:
        """Pass it on. Raises CancelledError once the copy is to stop."""
        if self._stopped:
            from asyncio import CancelledError

            raise CancelledError
        self._progress.advance(amount)

    def warn(self, text: str) -> None:
        self._progress.warn(text)

    def close(self) -> None:
        self._progress.close()

    def stop(self) -> None:
        self._stopped = True


@contextmanager
def _progress() -> Iterator[_StoppableProgress]:
    from dcss.progress import SilentProgress
    from dcss.report.progress import progress_for

    progress = progress_for(sys.stderr) if sys.stderr.isatty() else SilentProgress(sys.stderr)
    try:
        yield _StoppableProgress(progress)
    finally:
        progress.close()


def _show(
    system: str, response: "Response", done: Callable[[Row], str] | None = None, *, as_json: bool, **more: str
) -> int:
    """Print a response, and return the exit status; `done` describes what was done to a segment, if CP does not."""
    from dcss.report.units import fmt_bytes

    rows: list[Row] = response.data or []
    if as_json:
        print_json({"system": system, **response_document(response), "segments": rows, **more})
    else:
        for line in response.lines:
            click.echo(line)
        for hint in shell_hints(response, system):
            click.echo(hint)
        if done is None:
            return exit_status(response)
        for row in rows:
            size_bytes = sum(each["last_page"] + 1 - each["first_page"] for each in row["ranges"]) * PAGE_SIZE
            click.echo(f"{row['name']}: file {row['file']:04d}, {fmt_bytes(size_bytes)}, {done(row)}")
    return exit_status(response)


command.add_command(spools)

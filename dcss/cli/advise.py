"""`dcss advise`: say what belongs into a segment, forecast what it saves, and write a system that shares it."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from dcss.cli.options import (
    csv_option,
    json_option,
    only_one,
    own_command,
    print_json,
    print_page,
    print_table,
)
from dcss.cli.sizes import SizeType
from dcss.errors import ConfigError
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.config.sources import Choice
    from dcss.plan.inputs.consumer import Consumer
    from dcss.progress import Progress

_CONFIG_SUFFIXES = frozenset({".yaml", ".yml"})
_MOST_GUESTS = 9999  # four digits of a guest's name
_MOST_PROCESSES = 1 << 22  # PID_MAX_LIMIT of Linux


class _Asked(NamedTuple):
    """What stands for guests: files and directories, processes by their ids, and commands to run."""

    sources: tuple[Path, ...]
    pids: tuple[int, ...]
    runs: tuple[tuple[str, ...], ...]


class _GuestNumbers(click.ParamType[tuple[int, ...]]):
    """Numbers of guests: one, or several with commas."""

    name = "guests"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers. Fails as click does."""
        words = str(value).split(",")
        numbers = tuple(int(word) for word in words if re.fullmatch(r"[0-9]{1,4}", word))
        if len(numbers) < len(words) or 0 in numbers:
            self.fail(f"found {value!r}, wanted numbers from 1 to {_MOST_GUESTS}, such as 10,100,1000", param, ctx)
        return numbers


class _CommandType(click.ParamType[tuple[str, ...]]):
    """A command and its arguments in one word, quoted as for a shell."""

    name = "command"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the command's words. Fails as click does."""
        try:
            words = tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"found {value!r}: {error}, wanted a command as a shell takes it", param, ctx)
        if not words or shutil.which(words[0]) is None:
            self.fail(f"found {value!r}, wanted a command whose program is in PATH, or its path", param, ctx)
        return words


@click.command("advise")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--pid",
    "pids",
    multiple=True,
    type=click.IntRange(1, _MOST_PROCESSES),
    metavar="PID",
    help="Ask about this running process; may be given several times.",
)
@click.option(
    "-r",
    "--run",
    "runs",
    multiple=True,
    type=_CommandType(),
    metavar="COMMAND",
    help="Run this command and ask about what it touches; may be given several times.",
)
@click.option(
    "--size", "budget_bytes", type=SizeType(), metavar="SIZE", help="The segment may take so much, such as 64M."
)
@click.option(
    "--guests",
    "guests",
    multiple=True,
    type=_GuestNumbers(),
    metavar="N[,N]...",
    help="Forecast for so many guests; the first number is that of the YAML.",
)
@click.option(
    "--min-users",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    metavar="N",
    help="Take files that so many would use.",
)
@click.option(
    "--storage", "storage_bytes", type=SizeType(), metavar="SIZE", help="The guests' storage; 64M by default."
)
@click.option("--name", "segment", default="LIB", show_default=True, metavar="SEGMENT", help="Name of the segment.")
@click.option("--platform", metavar="OS/ARCH", help="Of container images for several platforms, those for this one.")
@click.option("--tag", metavar="TAG", help="Of several container images in an archive, the one tagged so.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE.yaml",
    help="Write the system here.",
)
@click.option("--force", is_flag=True, help="Write over FILE.yaml, and the image beside it.")
@csv_option("files", "inputs", "forecasts")
@click.option("-v", "--verbose", is_flag=True, help="Show every file and every input.")
@json_option
def command(
    sources: tuple[Path, ...],
    pids: tuple[int, ...],
    runs: tuple[tuple[str, ...], ...],
    *,
    budget_bytes: int | None,
    guests: tuple[tuple[int, ...], ...],
    min_users: int,
    storage_bytes: int | None,
    segment: str,
    platform: str | None,
    tag: str | None,
    output: Path | None,
    force: bool,
    csv_table: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Say what belongs into a segment, and forecast what sharing it saves.

    \b
    dcss advise --pid 4711 --pid 4712 --size 64M
    dcss advise --run "nginx -t" --run "python3 -m http.server --help"
    dcss advise web.tar db.tar --guests 100 -o shared.yaml
    dcss advise /usr/lib/python3 --guests 10,100,1000
    dcss advise system.yaml

    SOURCE is a directory, a container archive (docker save, OCI), an ext2 image, or a YAML file, of which each guest
    counts. Files that two or more of these would use are advised, those first that save most. Contents are compared,
    so a file may have several names. Of processes and runs, only what they have touched counts. With --size, the files
    that save most together are chosen.

    --run traces a command and all that it starts, until these have ended; Ctrl-C ends a server. No shell is involved.

    -o writes a YAML that `dcss run` takes, with the segment above the guests' storage.

    Exit status: 0 done; 2 nothing to advise, or wrong options; 3 what is asked about
    cannot be looked at.
    """
    from dcss.abi.extmem import SegmentName
    from dcss.config.sources import Choice
    from dcss.plan.advise import Wishes, advise
    from dcss.progress import SilentProgress
    from dcss.report.progress import progress_for

    only_one(json=as_json, csv=csv_table)
    if not sources and not pids and not runs:
        raise click.UsageError("found no SOURCE, --pid or --run, wanted one at least.")
    try:
        SegmentName(segment)
    except ValueError as error:
        raise click.UsageError(f"--name: {error}.") from error
    if output is not None:
        check_written_path("-o", output)
        if output.suffix not in _CONFIG_SUFFIXES:
            raise ConfigError(f"-o: found {output}, wanted the name of a YAML file, such as {output}.yaml")
    progress = progress_for(sys.stderr) if sys.stderr.isatty() else SilentProgress(sys.stderr)
    notes: list[str] = []
    try:
        consumers, found_bytes = _consumers(_Asked(sources, pids, runs), Choice(platform, tag), notes, progress)
        wishes = Wishes(
            budget_bytes=budget_bytes,
            guests=tuple(number for numbers in guests for number in numbers),
            min_users=min_users,
            storage_bytes=storage_bytes or found_bytes or Wishes().storage_bytes,
            segment=segment,
        )
        progress.phase("compare files")
        plan = advise(consumers, wishes, notes)
        if output is not None:
            from dcss.plan.output import write_plan

            plan = write_plan(plan, output, progress, replace=force)
    finally:
        progress.close()
    if as_json:
        print_json(plan.advice.to_document())
    elif csv_table is not None:
        print_table(plan.advice, csv_table)
    else:
        from dcss.report.advice_view import advice_page

        print_page(advice_page(plan.advice, own_command(), show_all=verbose))


def _consumers(
    asked: "_Asked", choice: "Choice", notes: list[str], progress: "Progress"
) -> "tuple[list[Consumer], int]":
    """Return all that is asked about, and the largest storage of a guest of it, 0 if that is not known."""
    consumers: list[Consumer] = []
    storage_bytes = 0
    for source in asked.sources:
        progress.phase(f"read {source}")
        if source.suffix in _CONFIG_SUFFIXES and source.is_file():
            from dcss.plan.inputs.yaml_guests import guest_consumers

            guests, largest_bytes = guest_consumers(source, notes, progress)
            consumers += guests
            storage_bytes = max(storage_bytes, largest_bytes)
        else:
            from dcss.plan.inputs.trees import tree_consumer

            consumers.append(tree_consumer(source, choice))
    if asked.pids:
        from dcss.plan.inputs.processes import process_consumers

        progress.phase("read page tables")
        consumers += process_consumers(asked.pids, notes)
    for command in asked.runs:
        from dcss.plan.inputs.runs import run_consumer

        progress.close()  # the terminal is the command's
        consumers.append(run_consumer(command, notes))
    return consumers, storage_bytes

"""`dcss run CONFIG`: run a system from start to end, and prove what it shares."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import (
    EXIT_FAILED,
    EXIT_REFUTED,
    csv_option,
    evidence_option,
    json_option,
    only_one,
    print_json,
    print_page,
    print_table,
)
from dcss.errors import ConfigError
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.config.beside import PlanBeside
    from dcss.results import RunResult


@click.command("run")
@click.argument("config", type=click.Path(path_type=Path, readable=False))
@json_option
@csv_option("guests", "segments", "others", "claims", "files", "outcomes")
@evidence_option
@click.option(
    "--timings",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Show where the guests' starts go; FILE takes trace events for Perfetto.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every guest and every file.")
def command(
    config: Path, *, as_json: bool, csv_table: str | None, evidence: Path | None, timings: str | None, verbose: bool
) -> int:
    """Start a system, run its workloads, verify, measure, and take it down.

    \b
    dcss run demo.yaml
    dcss run demo.yaml --json > result.json
    dcss run demo.yaml --evidence frames.json
    dcss run demo.yaml --timings trace.json

    Exit status: 0 verified; 1 refuted or unproved; 2 CONFIG or the command line is wrong; 3 a guest or a part of
    the system failed. Ctrl-C takes the system down.
    """
    from dcss.config.beside import PlanBeside
    from dcss.config.document import presumed_engines, read_document
    from dcss.engines.forked.server_process import servers_begun

    only_one(json=as_json, csv=csv_table)
    document = read_document(config)
    # The servers of engines import what guests need, and the plan is made, beside this process's own imports.
    with servers_begun(*presumed_engines(document, config)), PlanBeside(document, config) as planning:
        result = _run(planning, evidence, timings)
    _show(result, csv_table, as_json=as_json, verbose=verbose)
    if any(guest.exit_status for guest in result.guests):
        return EXIT_FAILED
    return 0 if result.verify.verdict == "verified" else EXIT_REFUTED


def _run(planning: "PlanBeside", evidence: Path | None, timings: str | None) -> "RunResult":
    from dcss.report.progress import progress_for
    from dcss.system.run import run_system

    plan = planning.result()
    if evidence is not None:
        check_written_path("--evidence", evidence)
    trace = Path(timings) if timings else None
    if trace is not None:
        if trace.suffix in {".yaml", ".yml"}:
            raise ConfigError(f"--timings: found {trace}, wanted a file to write: put CONFIG before --timings")
        check_written_path("--timings", trace)
    asked: dict[str, Any] = {} if timings is None else {"timings": True, "trace_path": trace}
    progress = progress_for(sys.stderr)
    try:
        return run_system(plan, progress=progress, evidence_path=evidence, **asked)
    finally:
        progress.close()


def _show(result: "RunResult", csv_table: str | None, *, as_json: bool, verbose: bool) -> None:
    if as_json:
        print_json(result.to_document())
    elif csv_table is not None:
        _print_table(result, csv_table)
    else:
        from dcss.report.pages import run_page

        print_page(run_page(result, show_all=verbose))


def _print_table(result: "RunResult", table: str) -> None:
    """Print a table of one of the results: those of verify and measure have the names that these give them."""
    if table == "outcomes":
        print_table(result, "guests")
    else:
        print_table(result.verify if table in {"claims", "files"} else result.measure, table)

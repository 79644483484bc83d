"""`dcss sweep SWEEP.yaml`: run each configuration of a matrix, and write a row for each."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import (
    EXIT_FAILED,
    EXIT_REFUTED,
    csv_option,
    echo_error,
    json_option,
    only_one,
    print_json,
    print_page,
    print_table,
)
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.config.load_sweep import SweepPlan
    from dcss.documents import JsonObject
    from dcss.fleet.sweep.results import SweepResult
    from dcss.fleet.sweep.row_file import RowFile
    from dcss.fleet.sweep.workers import Workers
    from dcss.progress import Progress

_file_type = click.Path(path_type=Path, readable=False)


@click.command("sweep")
@click.argument("config", metavar="SWEEP.yaml", type=_file_type)
@click.option("-o", "--output", type=_file_type, metavar="FILE", help="The rows as JSON Lines; NAME.jsonl by default.")
@click.option("--parquet", type=_file_type, metavar="FILE", help="Write the rows as Parquet, too (pyarrow).")
@click.option("--plot", type=_file_type, metavar="FILE.svg", help="Draw two columns to FILE.svg.")
@click.option("--x", metavar="COLUMN", help="Of the plot; the first key of the matrix by default.")
@click.option("--y", metavar="COLUMN", help="Of the plot; ready_seconds, or checks_ok, by default.")
@click.option("--at-once", type=click.IntRange(1, 1000), metavar="N", help="Configurations at the same time by worker.")
@click.option("--workers", type=click.IntRange(1, 1000), metavar="N", help="Start so many Dask workers here.")
@click.option("--scheduler", metavar="ADDRESS", help="The Dask scheduler whose workers are used.")
@click.option("--trust-network", is_flag=True, help="Take an address beyond this machine without TLS.")
@click.option("--again", type=click.Choice(["failed"]), help="Run again those that failed.")
@click.option("--list", "listing", is_flag=True, help="List the configurations, and run none.")
@json_option
@csv_option("rows")
@click.option("-v", "--verbose", is_flag=True, help="Show every row.")
def command(config: Path, *, as_json: bool, csv_table: str | None, verbose: bool, **given: Any) -> int:
    """Run each configuration of a matrix by itself, and write a row for each.

    \b
    dcss sweep sweep.yaml
    dcss sweep sweep.yaml --plot rows.svg --y private_bytes
    dcss sweep sweep.yaml --csv > rows.csv
    dcss sweep sweep.yaml --scheduler tls://host1:8786

    SWEEP.yaml names a system's YAML and values for some of its keys. A sweep that was interrupted goes on where it
    was: configurations that have a row in the output are not run again. A worker runs one at a time.

    Exit status: 0 all were run and verified; 1 one was refuted or unproved; 2 SWEEP.yaml or a configuration is wrong;
    3 one failed, or took too long.
    """
    only_one(json=as_json, csv=csv_table)
    only_one(list=given["listing"], csv=csv_table)
    from dcss.config.load_sweep import load_sweep

    plan = load_sweep(config)
    _check_kernels(plan)
    output = given["output"] or Path(f"{plan.name}.jsonl")
    if given["listing"]:
        return _list(plan, output, as_json=as_json)
    _check(plan, given)
    result = _sweep(plan, output, given)
    _write(result, given)
    if as_json:
        print_json(result.to_document())
    elif csv_table is not None:
        print_table(result, csv_table)
    else:
        from dcss.report.sweep_view import sweep_page

        print_page(sweep_page(result, show_all=verbose))
    if result.failed:
        return EXIT_FAILED
    bad = any(row.get("verdict") not in {None, "verified"} or row.get("checks_bad") for row in result.found)
    return EXIT_REFUTED if bad else 0


def _check_kernels(plan: "SweepPlan") -> None:
    if plan.command != "kernel-test":
        return
    from dcss.kernel_test.bench import kernel_source
    from dcss.kernel_test.checks import chosen

    for configuration in plan.configurations:
        kernel_source(configuration.data["kernel"])
        chosen((configuration.data["check"],) if "check" in configuration.data else ())


def _check(plan: "SweepPlan", given: dict[str, Any]) -> None:
    if given["workers"] is not None and given["scheduler"] is not None:
        raise click.UsageError("found --workers beside --scheduler, wanted one of them: a scheduler has its workers.")
    for option in ("parquet", "plot"):
        if given[option] is not None:
            check_written_path(f"--{option}", given[option])
    if given["parquet"] is not None:
        from dcss.fleet.sweep.parquet import check_parquet

        check_parquet()
    if given["plot"] is None:
        if given["x"] or given["y"]:
            raise click.UsageError("found --x or --y without --plot, wanted --plot FILE.svg beside them.")
        return
    from dcss.fleet.sweep.results import sweep_columns
    from dcss.report.compare_plot import check_plotter
    from dcss.report.sweep_plot import check_columns

    check_plotter()
    given["x"] = given["x"] or plan.keys[0]
    given["y"] = given["y"] or ("ready_seconds" if plan.command == "run" else "checks_ok")
    check_columns(given["x"], given["y"], sweep_columns(plan.command, plan.keys))


def _sweep(plan: "SweepPlan", output: Path, given: dict[str, Any]) -> "SweepResult":
    from dcss.fleet.sweep.row_file import opened_rows
    from dcss.fleet.sweep.workers import open_workers
    from dcss.report.progress import progress_for

    forget = {"failed", "timed-out", "lost"} if given["again"] else set()
    progress = progress_for(sys.stderr)
    with ExitStack() as stack:
        stack.callback(progress.close)
        rows = stack.enter_context(opened_rows(output, forget))
        if any(each.digest not in rows.by_digest() for each in plan.configurations):
            workers = open_workers(
                given["scheduler"],
                given["workers"],
                given["at_once"] or plan.at_once,
                trusted=given["trust_network"],
                stack=stack,
                progress=progress,
            )
            _run(plan, rows, workers, progress)
        return _result(plan, output, rows)


def _run(plan: "SweepPlan", rows: "RowFile", workers: "Workers", progress: "Progress") -> None:
    from dcss.fleet.sweep.run import SweepRun
    from dcss.report.sweep_view import row_line

    known = rows.by_digest()
    left = [each for each in plan.configurations if each.digest not in known]
    labels = {each.digest: each.label for each in left}
    total, done = len(plan.configurations), len(plan.configurations) - len(left)
    _warn_of_versions(plan, known, progress)
    progress.phase(f"sweep {plan.name}", total, "configurations")
    progress.advance(done)
    for row in SweepRun(plan, left, workers).rows():
        rows.add(row)
        done += 1
        progress.advance()
        if not sys.stderr.isatty():
            echo_error(f"{done} of {total}: {row_line(row, labels[row['digest']])}")


def _warn_of_versions(plan: "SweepPlan", known: "dict[str, JsonObject]", progress: "Progress") -> None:
    from dcss.version import VERSION

    others = {known[each.digest].get("dcss") for each in plan.configurations if each.digest in known} - {VERSION}
    if others:
        named = ", ".join(sorted(map(str, others)))
        progress.warn(f"some rows are by dcss {named}, and this is {VERSION}: another --output has rows of one version")


def _result(plan: "SweepPlan", output: Path, rows: "RowFile") -> "SweepResult":
    from dcss.fleet.sweep.results import SweepResult, sweep_columns

    known = rows.by_digest()
    found = [known[each.digest] for each in plan.configurations if each.digest in known]
    columns = sweep_columns(plan.command, plan.keys)
    done = sum(row["outcome"] == "done" for row in found)
    return SweepResult(
        sweep=plan.name,
        command=plan.command,
        output=str(output),
        configurations=len(plan.configurations),
        done=done,
        failed=len(found) - done,
        left=len(plan.configurations) - len(found),
        keys=plan.keys,
        found=tuple({name: row.get(name) for name in columns} for row in found),
    )


def _write(result: "SweepResult", given: dict[str, Any]) -> None:
    if given["parquet"] is not None:
        from dcss.fleet.sweep.parquet import write_parquet

        write_parquet(result.found, given["parquet"])
    if given["plot"] is not None:
        from dcss.cli.options import write_whole
        from dcss.report.sweep_plot import sweep_plot

        write_whole(given["plot"], sweep_plot(result.sweep, result.found, given["x"], given["y"], result.keys))


def _list(plan: "SweepPlan", output: Path, *, as_json: bool) -> int:
    known: set[str] = set()
    if output.exists():
        from dcss.fleet.sweep.row_file import opened_rows

        with opened_rows(output) as rows:
            known = set(rows.by_digest())
    entries = [
        {"number": each.number, "repeat": each.repeat, "digest": each.digest, "keys": dict(each.keys)}
        | {"done": each.digest in known}
        for each in plan.configurations
    ]
    if as_json:
        print_json({"sweep": plan.name, "configurations": entries})
        return 0
    for each in plan.configurations:
        click.echo(f"{each.digest[:12]}  {'done' if each.digest in known else '    '}  {each.label}")
    return 0

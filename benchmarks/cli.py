"""Run benchmarks, check what they found against the baseline, and write the documentation from it."""

import sys
import time
import traceback
from pathlib import Path

import click

from benchmarks.framework.guard import check, read_baseline, record, write_baseline
from benchmarks.framework.machine import ROOT, describe_machine
from benchmarks.framework.results import Growth, Results, Row
from benchmarks.framework.session import Interrupted, Session
from benchmarks.registry import BENCHMARKS, load

RESULTS = ROOT / "benchmarks" / "results.json"
BASELINE = ROOT / "benchmarks" / "baseline.json"
DOCS = ROOT / "docs"
results_argument = click.argument(
    "results", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True
)


@click.group()
def main() -> None:
    """Measure this project beside its alternatives, in the same run."""


@main.command("run")
@click.option("--mode", type=click.Choice(["quick", "full"]), default="full", show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(BENCHMARKS)), help="Run this benchmark; may be repeated.")
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def run(mode: str, only: tuple[str, ...], output: Path) -> None:
    """Run benchmarks and write what they found as JSON."""
    found: list[Row | Growth] = []
    seconds: dict[str, float] = {}
    failed: list[str] = []
    machine = describe_machine()
    try:
        with Session(quick=mode == "quick") as session:
            for name in only or BENCHMARKS:
                began = time.monotonic()
                try:
                    found += load(name)(session)
                except Exception:  # the others are still worth having
                    failed.append(name)
                    click.echo(f"{name}: failed\n{traceback.format_exc()}", err=True)
                    continue
                seconds[name] = round(time.monotonic() - began, 1)
                click.echo(f"{name}: {seconds[name]:.0f} s", err=True)
    except Interrupted as interrupted:
        click.echo(str(interrupted), err=True)
        sys.exit(interrupted.exit_status)
    rows = tuple(each for each in found if isinstance(each, Row))
    growths = tuple(each for each in found if isinstance(each, Growth))
    Results(mode, machine, rows, growths, seconds).write(output)
    click.echo(f"{len(rows)} rows and {len(growths)} growths: {output}", err=True)
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        sys.exit(1)


@main.command("check")
@results_argument
@click.option("--lenience", type=click.FloatRange(min=1), default=1.0, help="Allow so many times the tolerance.")
def check_results(results: tuple[Path, ...], lenience: float) -> None:
    """Fail where a ratio of RESULTS is clearly worse than in the baseline."""
    findings = []
    for path in results:
        found, baselines = Results.read(path), read_baseline(BASELINE)
        if found.mode not in baselines:
            click.echo(f"mode {found.mode} has no baseline; `python -m benchmarks baseline {path}` records one")
            continue
        findings += check(found, baselines[found.mode], lenience)
    for outcome in ("not measured", "unknown", "lost", "gone"):
        for finding in findings:
            if finding.outcome == outcome:
                click.echo(f"{outcome}: {finding.message}")
    held = sum(finding.outcome == "held" for finding in findings)
    failed = sum(finding.fails for finding in findings)
    click.echo(f"{held} figures as good as in the baseline, {failed} clearly worse")
    sys.exit(1 if failed else 0)


@main.command("baseline")
@results_argument
def record_baseline(results: tuple[Path, ...]) -> None:
    """Store the ratios of RESULTS as the baseline of their mode; several runs show how far runs differ."""
    runs = [Results.read(path) for path in results]
    modes = {run.mode for run in runs}
    if len(modes) > 1:
        raise click.UsageError(f"found runs of the modes {', '.join(sorted(modes))}, wanted runs of one mode")
    write_baseline(BASELINE, read_baseline(BASELINE) | {modes.pop(): record(runs)})


@main.command("join")
@results_argument
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def join_results(results: tuple[Path, ...], output: Path) -> None:
    """Join RESULTS of benchmarks that were run one by one; of one that several have, the last counts."""
    joined = Results.joined([Results.read(path) for path in results])
    joined.write(output)
    click.echo(f"{len(joined.seconds)} benchmarks: {output}", err=True)


@main.command("render")
@click.argument("results", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=RESULTS)
def render(results: Path) -> None:
    """Write tables and plots of RESULTS into docs/."""
    from benchmarks.report.pages import sections, write_pages
    from benchmarks.report.plots import write_plots

    found = Results.read(results)
    plots = write_plots(found, DOCS / "plots")
    for page in write_pages(DOCS, sections(found, plots)):
        click.echo(f"written: {page.relative_to(ROOT)}")

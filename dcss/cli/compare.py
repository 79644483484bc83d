"""`dcss compare CONFIG`: run one workload by every way to file bytes, and show what each costs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.options import (
    EXIT_FAILED,
    EXIT_REFUTED,
    check_written_path,
    echo_error,
    json_option,
    print_json,
    print_page,
    write_whole,
)
from dcss.errors import ConfigError

if TYPE_CHECKING:
    from dcss.results import ComparisonResult


@click.command("compare")
@click.argument("config", type=click.Path(path_type=Path, readable=False))
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Run each way so many times.")
@click.option("--ksm", "use_ksm", is_flag=True, help="Compare with KSM, too: root; settings are restored afterwards.")
@click.option("--csv", "csv_path", metavar="FILE|-", help="Write the rows as CSV to FILE, or to stdout.")
@click.option(
    "--plot", type=click.Path(path_type=Path, readable=False), metavar="FILE.svg", help="Draw the figures to FILE.svg."
)
@json_option
@click.option("-v", "--verbose", is_flag=True, help="Show what each guest pays.")
def command(
    config: Path, *, rounds: int, use_ksm: bool, csv_path: str | None, plot: Path | None, as_json: bool, verbose: bool
) -> int:
    """Run one workload by every way to file bytes, and show what each costs.

    \b
    dcss compare demo.yaml
    dcss compare demo.yaml --csv ways.csv --plot ways.svg
    dcss compare demo.yaml --json

    The mounts of all guests are made by each way in turn: in place (xip, mtd), through the page cache, from a
    ramdisk, and with --ksm through the page cache while the kernel merges equal pages.

    Exit status: 0 verified by every way; 1 refuted or unproved by one; 3 a guest failed.
    """
    from dcss.config.document import read_document
    from dcss.plan.compare import compare
    from dcss.report.progress import progress_for

    if as_json and csv_path == "-":
        raise ConfigError("--csv: found - beside --json, wanted one document on stdout: give a FILE")
    _check(csv_path, plot)
    progress = progress_for(sys.stderr)
    try:
        result, failed = compare(read_document(config), config, rounds=rounds, use_ksm=use_ksm, progress=progress)
    finally:
        progress.close()
    _show(result, csv_path, plot, as_json=as_json, verbose=verbose)
    for line in failed:
        echo_error(f"dcss compare: {line}")
    if failed:
        return EXIT_FAILED
    return 0 if all(way.verdict in {None, "verified"} for way in result.ways) else EXIT_REFUTED


def _check(csv_path: str | None, plot: Path | None) -> None:
    if csv_path not in {None, "-"}:
        check_written_path("--csv", Path(str(csv_path)))
    if plot is not None:
        from dcss.report.compare_plot import check_plotter

        check_plotter()
        check_written_path("--plot", plot)


def _show(result: "ComparisonResult", csv_path: str | None, plot: Path | None, *, as_json: bool, verbose: bool) -> None:
    from io import StringIO

    from dcss.report.compare_view import compare_page, comparison_rows
    from dcss.report.csv_rows import print_csv

    if plot is not None:
        from dcss.report.compare_plot import comparison_plot

        write_whole(plot, comparison_plot(result))
    if csv_path is not None:
        rows = StringIO()
        print_csv(comparison_rows(result), rows)
        if csv_path != "-":
            write_whole(Path(csv_path), rows.getvalue().encode())
        else:
            click.echo(rows.getvalue(), nl=False)
            return
    if as_json:
        print_json(result.to_document())
    else:
        print_page(compare_page(result, show_all=verbose))

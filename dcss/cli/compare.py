"""`dcss compare CONFIG`: run one workload by every way to file bytes, and show what each costs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

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
    write_whole,
)
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.results import ComparisonResult


@click.command("compare")
@click.argument("config", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="Run each way so many times.",
)
@click.option("--ksm", "use_ksm", is_flag=True, help="Compare with KSM, too: root; settings are restored afterwards.")
@click.option(
    "--plot", type=click.Path(path_type=Path, readable=False), metavar="FILE.svg", help="Draw the figures to FILE.svg."
)
@json_option
@csv_option("ways", "guests")
@click.option("-v", "--verbose", is_flag=True, help="Show what each guest pays.")
def command(
    config: Path, *, rounds: int, use_ksm: bool, csv_table: str | None, plot: Path | None, as_json: bool, verbose: bool
) -> int:
    """Run one workload by every way to file bytes, and show what each costs.

    \b
    dcss compare demo.yaml
    dcss compare demo.yaml --plot ways.svg
    dcss compare demo.yaml --csv > ways.csv
    dcss compare demo.yaml --csv guests > guests.csv
    dcss compare demo.yaml --json

    The mounts of all guests are made by each way in turn: in place (xip, mtd), through the page cache, from a
    ramdisk, and with --ksm through the page cache while the kernel merges equal pages.

    Exit status: 0 verified by every way; 1 refuted or unproved by one; 3 a guest failed.
    """
    only_one(json=as_json, csv=csv_table)
    from dcss.config.document import read_document
    from dcss.plan.compare import compare
    from dcss.report.progress import progress_for

    if plot is not None:
        from dcss.report.compare_plot import check_plotter

        check_plotter()
        check_written_path("--plot", plot)
    progress = progress_for(sys.stderr)
    try:
        result, failed = compare(read_document(config), config, rounds=rounds, use_ksm=use_ksm, progress=progress)
    finally:
        progress.close()
    _show(result, csv_table, plot, as_json=as_json, verbose=verbose)
    for line in failed:
        echo_error(f"dcss compare: {line}")
    if failed:
        return EXIT_FAILED
    return 0 if all(way.verdict in {None, "verified"} for way in result.ways) else EXIT_REFUTED


def _show(
    result: "ComparisonResult", csv_table: str | None, plot: Path | None, *, as_json: bool, verbose: bool
) -> None:
    if plot is not None:
        from dcss.report.compare_plot import comparison_plot

        write_whole(plot, comparison_plot(result))
    if as_json:
        print_json(result.to_document())
    elif csv_table is not None:
        print_table(result, csv_table)
    else:
        from dcss.report.compare_view import compare_page

        print_page(compare_page(result, show_all=verbose))

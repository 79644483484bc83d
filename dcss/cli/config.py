"""`dcss config CONFIG`: check a configuration and show what it would start."""

import sys
from pathlib import Path

import click

from dcss.cli.options import csv_option, json_option, only_one, print_json, print_page, print_table


@click.command("config")
@click.argument("config", type=click.Path(path_type=Path, readable=False))
@json_option
@csv_option("segments", "guests")
def command(config: Path, as_json: bool, csv_table: str | None) -> None:
    """Check a configuration and show what it would start. Nothing is started or written.

    \b
    dcss config demo.yaml
    GUESTS=8 dcss config demo.yaml      replaces ${GUESTS} in it

    Shown are addresses and sizes, how many files each pattern matches, the guests with their storage and mounts, and
    which guests would map a segment in place. Everything that is wrong comes at once, with file, line and field.

    Exit status: 0 the configuration can be run; 2 it is wrong.
    """
    from dcss.config.load import load_plan
    from dcss.progress import SilentProgress
    from dcss.report.progress import progress_for
    from dcss.system.preview import preview

    only_one(json=as_json, csv=csv_table)
    plan = load_plan(config)
    progress = progress_for(sys.stderr) if sys.stderr.isatty() else SilentProgress()
    try:
        found = preview(plan, progress)
    finally:
        progress.close()
    if as_json:
        print_json(found.to_document())
    elif csv_table is not None:
        print_table(found, csv_table)
    else:
        from dcss.report.preview_view import preview_page

        print_page(preview_page(found))

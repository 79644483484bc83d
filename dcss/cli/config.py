"""`dcss config CONFIG`: check a configuration and show what it would start."""

import sys
from pathlib import Path

import click

from dcss.cli.options import json_option, print_json, print_page


@click.command("config")
@click.argument("config", type=click.Path(path_type=Path, readable=False))
@json_option
def command(config: Path, as_json: bool) -> None:
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

    plan = load_plan(config)
    progress = progress_for(sys.stderr) if sys.stderr.isatty() else SilentProgress()
    try:
        found = preview(plan, progress)
    finally:
        progress.close()
    if as_json:
        from dcss.documents import to_document

        print_json(to_document(found))
        return
    from dcss.report.preview_view import preview_page

    print_page(preview_page(found))

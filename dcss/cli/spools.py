"""`dcss segment spools`: list the systems that have saved segments, whether they run or not."""

from pathlib import Path
from typing import NamedTuple

import click

from dcss.cli.options import csv_option, json_option, only_one, print_json, print_page, print_rows


class FoundSpool(NamedTuple):
    """The spool of one system: how many files (skeletons included) it has, and what they take on disk."""

    system: str
    directory: Path
    files: int
    disk_bytes: int


def find_spools() -> list[FoundSpool]:
    """Return this user's spools by their system's name; reading takes no lock, so a spool may change meanwhile."""
    from dcss.host.paths import is_system_name, state_root

    root = state_root()
    if not root.is_dir():
        return []
    directories = [each for each in sorted(root.iterdir()) if is_system_name(each.name) and each.is_dir()]
    return [_found(directory) for directory in directories]


def _found(directory: Path) -> FoundSpool:
    files, disk_bytes = 0, 0
    for path in directory.iterdir():
        try:
            disk_bytes += path.lstat().st_blocks * 512
        except FileNotFoundError:  # a CP replaces or removes it just now
            continue
        files += path.suffix == ".manifest"
    return FoundSpool(directory.name, directory, files, disk_bytes)


@click.command("spools")
@json_option
@csv_option("spools")
def command(as_json: bool, csv_table: str | None) -> None:
    """List the systems that have saved segments, whether they run or not.

    `dcss segment query --system SYSTEM` shows what a spool holds.
    """
    only_one(json=as_json, csv=csv_table)
    found = find_spools()
    rows = [
        {"system": each.system, "directory": str(each.directory), "files": each.files, "bytes": each.disk_bytes}
        for each in found
    ]
    if as_json:
        print_json({"spools": rows})
    elif csv_table is not None:
        from dcss.documents import columns_of
        from dcss.schemas.shapes import Spool

        print_rows(rows, columns_of(Spool))
    elif not found:
        click.echo("no system has saved segments")
    else:
        from dcss.report.blocks import Column, Table, bytes_cell, count_cell, text_cell

        columns = (Column("SYSTEM"), Column("FILES", right=True), Column("ON DISK", right=True), Column("DIRECTORY"))
        cells = tuple(
            (text_cell(system), count_cell(count), bytes_cell(size_bytes), text_cell(str(directory)))
            for system, directory, count, size_bytes in found
        )
        print_page(((Table(columns, cells),),))

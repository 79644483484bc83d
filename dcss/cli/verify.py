"""`dcss verify [SYSTEM]`: prove what a running system shares."""

import os
from pathlib import Path

import click

from dcss.cli.options import (
    EXIT_REFUTED,
    csv_option,
    evidence_option,
    json_option,
    only_one,
    print_json,
    print_page,
    print_table,
)
from dcss.cli.systems import ask, system_argument
from dcss.host.written_path import check_written_path


@click.command("verify")
@system_argument
@json_option
@evidence_option
@csv_option("claims", "files")
@click.option("-v", "--verbose", is_flag=True, help="Show every file.")
def command(system: str | None, *, as_json: bool, evidence: Path | None, csv_table: str | None, verbose: bool) -> int:
    """Prove that the guests of a running system share its segments.

    \b
    dcss verify
    dcss verify demo --json
    dcss verify --evidence frames.json.gz
    dcss verify demo --csv files > files.csv

    Each guest is stopped while its memory is examined: a few seconds in all for a hundred guests.

    Exit status: 0 verified; 1 refuted or unproved.
    """
    only_one(json=as_json, csv=csv_table)
    if evidence is not None:
        check_written_path("--evidence", evidence)
        evidence = Path(os.path.abspath(evidence))  # noqa: PTH100 - CP writes it, and works elsewhere
    document = ask(system, "verify", evidence=None if evidence is None else str(evidence))
    if as_json:
        print_json(document)
    else:
        from dcss.documents import from_document
        from dcss.results import VerifyResult

        result = from_document(VerifyResult, document)
        if csv_table is not None:
            print_table(result, csv_table)
        else:
            from dcss.report.pages import verify_page

            print_page(verify_page(result, show_all=verbose))
    return 0 if document["verdict"] == "verified" else EXIT_REFUTED

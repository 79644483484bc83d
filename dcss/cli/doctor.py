"""`dcss doctor`: show what this machine lacks or limits, and the commands that mend it."""

import click

from dcss.cli.options import csv_option, json_option, only_one, print_json, print_page, print_rows


@click.command("doctor")
@json_option
@csv_option("findings")
def command(as_json: bool, csv_table: str | None) -> None:
    """Show what this machine lacks or limits, and how to fix it.

    Marks: ✓ as it should be, ? a limit, ✗ missing. The command changes nothing; you run the suggested commands.
    """
    only_one(json=as_json, csv=csv_table)
    from dataclasses import asdict

    from dcss.doctor.examine import examine
    from dcss.doctor.host import Diagnosis, DoctorHost
    from dcss.report.doctor_view import doctor_page

    diagnoses = examine(DoctorHost())
    findings = [asdict(diagnosis) for diagnosis in diagnoses]
    if as_json:
        print_json({"findings": findings})
    elif csv_table is not None:
        from dcss.documents import columns_of

        print_rows(findings, columns_of(Diagnosis))
    else:
        print_page(doctor_page(diagnoses))

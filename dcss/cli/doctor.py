"""`dcss doctor`: show what this machine lacks or limits, and the commands that mend it."""

import click

from dcss.cli.options import json_option, print_json, print_page


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Show what this machine lacks or limits, and how to fix it.

    Marks: ✓ as it should be, ? a limit, ✗ missing. The command changes nothing; you run the suggested commands.
    """
    from dataclasses import asdict

    from dcss.doctor.examine import examine
    from dcss.doctor.host import DoctorHost
    from dcss.report.doctor_view import doctor_page

    diagnoses = examine(DoctorHost())
    if as_json:
        print_json({"findings": [asdict(diagnosis) for diagnosis in diagnoses]})
    else:
        print_page(doctor_page(diagnoses))

"""`dcss doctor`: what this machine can and cannot do, and the command that mends it."""

import sys
from typing import TYPE_CHECKING

import click

from dcss.cli.options import json_option, print_json

if TYPE_CHECKING:
    from dcss.doctor.machine import Finding
    from dcss.report.style import Style

_INDENT = 16
_HOLDS = {"ok": True, "limit": None, "missing": False}


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Show what this machine lacks or limits, and how to fix it.

    Marks: ✓ as it should be, ? a limit, ✗ missing. The command changes nothing; you run the suggested commands.
    """
    from dataclasses import asdict

    from dcss.doctor.examine import examine
    from dcss.doctor.machine import Machine
    from dcss.report.style import style_for

    findings = examine(Machine())
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
        return
    style = style_for(sys.stdout)
    for finding in findings:
        for line in finding_lines(finding, style):
            click.echo(line)


def finding_lines(finding: "Finding", style: "Style") -> list[str]:
    """Return one finding as text."""
    from dcss.report.layout import prose

    head, *rest = prose(finding.found, style, first=f"* {finding.name}", indent=_INDENT)
    lines = [style.mark(_HOLDS[finding.state]) + head.removeprefix("*"), *rest]
    if finding.limits is not None:
        lines += prose(finding.limits, style, first="  limits", indent=_INDENT)
    if finding.mend is not None:
        lines.append("  mend".ljust(_INDENT) + finding.mend)  # never wrapped: it is there to be copied
    return lines

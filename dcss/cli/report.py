"""`dcss report [SYSTEM|RESULT.json] -o FILE.html`: write what was proved and measured as one HTML file."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.options import EXIT_REFUTED, json_option, print_json, write_whole
from dcss.cli.systems import ask, chosen, source_argument
from dcss.errors import ConfigError
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.report.html.pages import EvidencePages
    from dcss.report.html.source import ReportSource


output_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    metavar="FILE.html",
    help="Write the report to FILE.html, in place of an older one.",
)


@click.command("report")
@source_argument
@output_option
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="The evidence that belongs to RESULT.json: the report shows its pages.",
)
@json_option
def command(system: str | None, output: Path, evidence: Path | None, as_json: bool) -> int:
    """Write what was proved and measured as one HTML file, which loads nothing from anywhere.

    \b
    dcss report -o report.html      prove and measure what runs
    dcss run demo.yaml --json --evidence e.gz > result.json
    dcss report result.json --evidence e.gz -o report.html

    RESULT.json is what dcss run, verify or measure print with --json; - reads it from stdin.

    Exit status: 0 verified, or no verdict in RESULT.json; 1 refuted or unproved; the report is written in each case.
    """
    from dcss.report.html.render import check_renderer, render_report
    from dcss.report.html.source import read_source

    check_renderer()
    check_written_path("--output", output)
    if system is not None and _is_file(system):
        source, pages = read_source(system), _evidence(evidence)
    elif evidence is not None:
        raise ConfigError("--evidence: found no RESULT.json beside it, wanted the result that it belongs to")
    else:
        source, pages = _look(chosen(system))
    return write_report(output, render_report(source, pages), source, as_json=as_json)


def write_report(path: Path, text: str, source: "ReportSource", *, as_json: bool) -> int:
    """Write a report, say so, and return the exit status that its verdict has."""
    content = text.encode()
    write_whole(path, content)
    verdict = None if source.verify is None else source.verify.verdict
    if as_json:
        print_json({"file": str(path), "system": source.system, "verdict": verdict, "bytes": len(content)})
    else:
        click.echo(f"{path}: {verdict or 'no verdict'}", err=True)
    return 0 if verdict in {None, "verified"} else EXIT_REFUTED


def _is_file(name: str) -> bool:
    """Return True if a word means a result and no system: stdin, a path, a name that ends in .json, a regular file."""
    return name == "-" or "/" in name or name.endswith(".json") or Path(name).is_file()


def _evidence(path: Path | None) -> "EvidencePages | None":
    from dcss.report.html.pages import read_evidence

    return None if path is None else read_evidence(path)


def _look(system: str) -> "tuple[ReportSource, EvidencePages]":
    """Have a running system proved and measured, and return what was found."""
    from dcss.report.html.pages import read_evidence
    from dcss.report.html.source import source_of

    with tempfile.TemporaryDirectory(prefix="dcss-report-") as directory:
        evidence = Path(directory) / "evidence.json.gz"  # CP, of the same user, writes it
        verify = ask(system, "verify", evidence=os.fspath(evidence))
        measure = ask(system, "measure")
        source = source_of({"verify": verify, "measure": measure}, f"system {system}")
        return source, read_evidence(evidence, f"taken of system {system}")

"""`dcss fleet report FLEET.yaml|RESULT.json -o FILE.html`: what all hosts proved and measured, as one HTML file."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from dcss.cli.fleet_hosts import evidence_directory_option, opened_fleet, scheduler_options
from dcss.cli.options import echo_error
from dcss.cli.report import output_option, write_report
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from dcss.report.html.pages import EvidencePages
    from dcss.report.html.source import ReportSource


@click.command("report")
@click.argument("sources", metavar="FLEET.yaml|RESULT.json...", nargs=-1, required=True)
@scheduler_options
@output_option
@evidence_directory_option("What --evidence of the results wrote: the report shows the pages of each host.")
def command(
    sources: tuple[str, ...],
    *,
    scheduler: str | None,
    trust_network: bool,
    output: Path,
    evidence: Path | None,
    as_json: bool,
) -> int:
    """Write what was proved and measured on all hosts as one HTML file, which loads nothing from anywhere.

    \b
    dcss fleet report fleet.yaml -o report.html      look at what runs
    dcss fleet run fleet.yaml --json --evidence pages > result.json
    dcss fleet report result.json --evidence pages -o report.html
    dcss fleet report verify.json measure.json -o report.html

    It has the verdict, a table of hosts, the guests, segments and files with their hosts, and which guests use each
    page of a segment on each host. A host that cannot be asked is named, and leaves the verdict unproved. RESULT.json
    is what dcss fleet run, verify or measure print with --json; - reads it from stdin.

    Exit status: 0 verified, or no verdict in RESULT.json; 1 refuted or unproved; the report is written in each case.
    """
    from dcss.report.html.fleet import fleet_evidence, read_fleet_source
    from dcss.report.html.render import check_renderer, render_report

    check_renderer()
    check_written_path("--output", output)
    if all(name == "-" or name.endswith(".json") for name in sources):
        if scheduler is not None:
            raise click.UsageError("found --scheduler beside RESULT.json, wanted one of them: no host is asked.")
        source = read_fleet_source(sources)
        pages = None if evidence is None else fleet_evidence(source, evidence)
    elif evidence is not None:
        raise click.UsageError("found --evidence and no RESULT.json, wanted the result that it belongs to.")
    elif len(sources) == 1:
        source, pages = _look(Path(sources[0]), scheduler, trusted=trust_network)
    else:
        raise click.UsageError(f"found {', '.join(sources)}, wanted one FLEET.yaml, or results that end in .json.")
    status = write_report(output, render_report(source, pages), source, as_json=as_json)
    for host in source.hosts:
        if host.reason is not None:
            echo_error(f"dcss: host {host.name}: {host.reason}")
    return status


def _look(config: Path, scheduler: str | None, *, trusted: bool) -> "tuple[ReportSource, EvidencePages | None]":
    """Have all hosts prove and measure what runs, and return what they found."""
    from dcss.fleet.operations import ask_all, verify_all
    from dcss.report.html.fleet import fleet_evidence, fleet_source

    with (
        TemporaryDirectory(prefix="dcss-report-") as directory,
        opened_fleet(config, scheduler, trusted=trusted) as fleet,
    ):
        source = fleet_source(verify_all(fleet, Path(directory)), ask_all(fleet, "measure"))
        return source, fleet_evidence(source, Path(directory), "taken of host")

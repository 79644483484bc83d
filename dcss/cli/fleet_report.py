"""`dcss fleet report FLEET.yaml -o FILE.html`: write what all hosts proved and measured as one HTML file."""

from pathlib import Path

import click

from dcss.cli.fleet_hosts import echo_reasons, hosts_options, opened_fleet
from dcss.cli.report import output_option, write_report
from dcss.host.written_path import check_written_path


@click.command("report")
@hosts_options
@output_option
def command(config: Path, *, scheduler: str | None, trust_network: bool, output: Path, as_json: bool) -> int:
    """Write what was proved and measured on all hosts as one HTML file, which loads nothing from anywhere.

    \b
    dcss fleet report fleet.yaml -o report.html

    It has the verdict, a table of hosts, and the guests, segments and files with their hosts. A host that cannot be
    asked is named, and leaves the verdict unproved.

    Exit status: 0 verified; 1 refuted or unproved; the report is written in each case.
    """
    from dcss.fleet.operations import ask_all
    from dcss.report.html.fleet import fleet_source
    from dcss.report.html.render import check_renderer, render_report

    check_renderer()
    check_written_path("--output", output)
    with opened_fleet(config, scheduler, trusted=trust_network) as fleet:
        verify = ask_all(fleet, "verify")
        measure = ask_all(fleet, "measure")
    source = fleet_source(verify, measure)
    status = write_report(output, render_report(source), source, as_json=as_json)
    echo_reasons(verify)
    return status

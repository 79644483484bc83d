"""`dcss fleet`: one system's guests on several hosts."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.fleet_hosts import (
    ask_fleet,
    echo_reasons,
    evidence_directory_option,
    fleet_argument,
    fleet_at_work,
    has_failed,
    hosts_options,
    opened_fleet,
)
from dcss.cli.fleet_metrics import command as metrics_command
from dcss.cli.fleet_report import command as report_command
from dcss.cli.groups import CommandGroup
from dcss.cli.options import (
    EXIT_FAILED,
    EXIT_REFUTED,
    csv_option,
    json_option,
    only_one,
    print_json,
    print_page,
    print_table,
)

if TYPE_CHECKING:
    from dcss.fleet.results import FleetResult, FleetRunResult


@click.group("fleet", cls=CommandGroup)
def command() -> None:
    """Run one system's guests on several hosts.

    Each segment is in memory once on each host. FLEET.yaml is the YAML of a system with `hosts:` and `placement:`.
    """


measured_option = click.option(
    "--measured",
    type=click.Path(path_type=Path, readable=False),
    metavar="RUN.json",
    help="What guests and segments cost: a document of dcss measure or dcss run; without it, estimates.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="With hosts: all, and without a scheduler: so many hosts.",
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show every host.")
evidence_written_option = evidence_directory_option(
    "Write pages, frames, counts and processes to DIRECTORY, a file for each host."
)
guests_option = click.option("-v", "--verbose", is_flag=True, help="Show every guest.")


@command.command("plan")
@fleet_argument
@measured_option
@workers_option
@json_option
@csv_option("hosts", "segments", "lacks", "growth")
@verbose_option
def plan(
    config: Path, *, measured: Path | None, workers: int | None, as_json: bool, csv_table: str | None, verbose: bool
) -> int:
    """Show which host would run which guests, and what each needs. Nothing is started, and no host is asked.

    \b
    dcss fleet plan fleet.yaml --workers 3
    dcss run small.yaml --json > run.json
    dcss fleet plan fleet.yaml --measured run.json

    The hosts need not exist: each has `memory:`, or a part of what is free on this machine. What does not fit is said
    for each host: what it has left, and what it lacks.

    Exit status: 0 all guests have room; 2 FLEET.yaml is wrong; 3 some have no room.
    """
    from dcss.config.load_fleet import load_fleet
    from dcss.fleet.planning import known_hosts, plan_fleet
    from dcss.host.memory import available_memory_bytes

    only_one(json=as_json, csv=csv_table)
    fleet = load_fleet(config)
    free_bytes = available_memory_bytes()
    hosts = known_hosts(fleet, workers, free_bytes)
    notes = []
    if fleet.hosts is None or any(host.memory_bytes is None for host in fleet.hosts):
        notes.append("hosts without memory: have equal parts of what is free on this machine")
    result = plan_fleet(fleet, hosts, measured, notes)
    if as_json:
        print_json(result.to_document())
    elif csv_table is not None:
        print_table(result, csv_table)
    else:
        from dcss.report.fleet_view import plan_page

        print_page(plan_page(result, show_all=verbose))
    return 0 if result.fits else EXIT_FAILED


@command.command("run")
@hosts_options
@measured_option
@workers_option
@guests_option
@evidence_written_option
def run(
    config: Path,
    *,
    scheduler: str | None,
    trust_network: bool,
    measured: Path | None,
    workers: int | None,
    evidence: Path | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Bring the fleet up, run its workloads, verify, measure, and take it down.

    \b
    dcss fleet run fleet.yaml --workers 2      two stand-ins on this machine
    dcss fleet run fleet.yaml --scheduler tls://host1:8786

    What a command that broke off left up is adopted, and taken down at the end. So it is after Ctrl-C.

    Exit status: 0 verified on every host; 1 refuted or unproved; 2 FLEET.yaml or the command line is wrong; 3 a guest
    or a host failed.
    """
    from dcss.fleet.operations import run_fleet

    _check_evidence(evidence)
    with fleet_at_work(config, scheduler, trusted=trust_network, workers=workers) as (fleet, progress):
        result = run_fleet(fleet, measured, progress, evidence)
    _show(result, as_json=as_json, verbose=verbose)
    if any(has_failed(each) for each in (result.up, result.measure, result.down)):
        return EXIT_FAILED
    return 0 if result.verdict == "verified" else EXIT_REFUTED


@command.command("up")
@hosts_options
@measured_option
@workers_option
@guests_option
def up(
    config: Path,
    *,
    scheduler: str | None,
    trust_network: bool,
    measured: Path | None,
    workers: int | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Have each host run its part of the guests. What is up already stays; a command that broke off goes on.

    \b
    dcss fleet up fleet.yaml --workers 2      two stand-ins on this machine
    dcss fleet up fleet.yaml --scheduler tls://host1:8786

    Each host gets the segments that it lacks, in chunks that are checked, and starts one CP.

    Exit status: 0 every guest of every host is ready; 2 FLEET.yaml is wrong; 3 a guest or a host failed.
    """
    from dcss.fleet.operations import bring_up

    with fleet_at_work(config, scheduler, trusted=trust_network, workers=workers) as (fleet, progress):
        result = bring_up(fleet, measured, progress)
    _show(result, as_json=as_json, verbose=verbose)
    return EXIT_FAILED if has_failed(result) else 0


@command.command("ps")
@hosts_options
@csv_option("guests", "segments", "hosts")
@guests_option
def ps(
    config: Path, *, scheduler: str | None, trust_network: bool, as_json: bool, csv_table: str | None, verbose: bool
) -> int:
    """Show what runs on each host.

    Exit status: 0 all hosts answered; 3 one cannot be asked, or runs nothing.
    """
    only_one(json=as_json, csv=csv_table)
    result = ask_fleet(config, scheduler, "ps", trusted=trust_network)
    _show(result, as_json=as_json, csv_table=csv_table, verbose=verbose)
    return EXIT_FAILED if has_failed(result) else 0


@command.command("verify")
@hosts_options
@csv_option("claims", "files", "hosts")
@evidence_written_option
def verify(
    config: Path,
    *,
    scheduler: str | None,
    trust_network: bool,
    as_json: bool,
    csv_table: str | None,
    evidence: Path | None,
) -> int:
    """Prove on each host what its guests share. The fleet is verified only if every host is.

    A host that cannot be asked is named, and leaves the verdict unproved.

    Exit status: 0 verified; 1 refuted or unproved.
    """
    from dcss.fleet.operations import verify_all

    only_one(json=as_json, csv=csv_table)
    _check_evidence(evidence)
    with opened_fleet(config, scheduler, trusted=trust_network) as fleet:
        result = verify_all(fleet, evidence)
    _show(result, as_json=as_json, csv_table=csv_table)
    return 0 if result.verdict == "verified" else EXIT_REFUTED


@command.command("measure")
@hosts_options
@csv_option("guests", "segments", "others", "hosts")
@guests_option
def measure(
    config: Path, *, scheduler: str | None, trust_network: bool, as_json: bool, csv_table: str | None, verbose: bool
) -> int:
    """Show what the guests of each host cost, and what sharing saves there: segments count once on each host.

    Exit status: 0 all hosts answered; 3 one cannot be asked.
    """
    only_one(json=as_json, csv=csv_table)
    result = ask_fleet(config, scheduler, "measure", trusted=trust_network)
    _show(result, as_json=as_json, csv_table=csv_table, verbose=verbose)
    return EXIT_FAILED if has_failed(result) else 0


@command.command("down")
@hosts_options
@workers_option
def down(config: Path, *, scheduler: str | None, trust_network: bool, workers: int | None, as_json: bool) -> int:
    """Take down what runs on any host. That nothing runs is no error.

    Exit status: 0 nothing is left; 3 a host cannot be asked: the command may be given again.
    """
    from dcss.fleet.operations import take_down

    with opened_fleet(config, scheduler, trusted=trust_network, workers=workers) as fleet:
        result = take_down(fleet)
    _show(result, as_json=as_json)
    return EXIT_FAILED if has_failed(result) else 0


def _check_evidence(directory: Path | None) -> None:
    """Have a directory of evidence be there before anything is started for it."""
    if directory is not None:
        from dcss.fleet.evidence import check_evidence_directory

        check_evidence_directory(directory)


def _show(
    result: "FleetResult | FleetRunResult", *, as_json: bool, csv_table: str | None = None, verbose: bool = False
) -> None:
    if as_json:
        print_json(result.to_document())
        return
    from dcss.fleet.results import FleetResult
    from dcss.report.fleet_hosts_view import hosts_page, run_page

    if not isinstance(result, FleetResult):
        print_page(run_page(result, show_all=verbose))
    elif csv_table is not None:
        print_table(result, csv_table)
        echo_reasons(result)
    else:
        print_page(hosts_page(result, show_all=verbose))


command.add_command(metrics_command)
command.add_command(report_command)

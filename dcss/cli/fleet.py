"""`dcss fleet`: one system's guests on several hosts."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.groups import CommandGroup
from dcss.cli.options import (
    EXIT_FAILED,
    EXIT_REFUTED,
    csv_option,
    json_option,
    only_one,
    print_json,
    print_page,
    print_rows,
)

if TYPE_CHECKING:
    from dcss.fleet.operations import Fleet, Question
    from dcss.fleet.results import FleetResult, FleetRunResult


@click.group("fleet", cls=CommandGroup)
def command() -> None:
    """Run one system's guests on several hosts.

    Each segment is in memory once on each host. FLEET.yaml is the YAML of a system with `hosts:` and `placement:`.
    """


fleet_argument = click.argument("config", metavar="FLEET.yaml", type=click.Path(path_type=Path, readable=False))
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
        print_rows(result.rows(csv_table))
    else:
        from dcss.report.fleet_view import plan_page

        print_page(plan_page(result, show_all=verbose))
    return 0 if result.fits else EXIT_FAILED


def hosts_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command reach the hosts: by a scheduler, or as stand-ins on this machine."""
    for option in (
        click.option("--scheduler", metavar="ADDRESS", help="The Dask scheduler whose workers are the hosts."),
        click.option("--trust-network", is_flag=True, help="Take an address beyond this machine without TLS."),
    ):
        function = option(function)
    return fleet_argument(json_option(function))


@command.command("run")
@hosts_options
@measured_option
@workers_option
@guests_option
def run(
    config: Path,
    *,
    scheduler: str | None,
    trust_network: bool,
    measured: Path | None,
    workers: int | None,
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
    from dcss.report.progress import progress_for

    progress = progress_for(sys.stderr)
    try:
        with _fleet(config, scheduler, trusted=trust_network, workers=workers) as fleet:
            result = run_fleet(fleet, measured, progress)
    finally:
        progress.close()
    _show(result, as_json=as_json, verbose=verbose)
    if any(_failed(each) for each in (result.up, result.measure, result.down)):
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
    from dcss.report.progress import progress_for

    progress = progress_for(sys.stderr)
    try:
        with _fleet(config, scheduler, trusted=trust_network, workers=workers) as fleet:
            result = bring_up(fleet, measured, progress)
    finally:
        progress.close()
    _show(result, as_json=as_json, verbose=verbose)
    return EXIT_FAILED if _failed(result) else 0


@command.command("ps")
@hosts_options
@guests_option
def ps(config: Path, *, scheduler: str | None, trust_network: bool, as_json: bool, verbose: bool) -> int:
    """Show what runs on each host.

    Exit status: 0 all hosts answered; 3 one cannot be asked, or runs nothing.
    """
    result = _asked(config, scheduler, "ps", trusted=trust_network)
    _show(result, as_json=as_json, verbose=verbose)
    return EXIT_FAILED if _failed(result) else 0


@command.command("verify")
@hosts_options
def verify(config: Path, *, scheduler: str | None, trust_network: bool, as_json: bool) -> int:
    """Prove on each host what its guests share. The fleet is verified only if every host is.

    A host that cannot be asked is named, and leaves the verdict unproved.

    Exit status: 0 verified; 1 refuted or unproved.
    """
    result = _asked(config, scheduler, "verify", trusted=trust_network)
    _show(result, as_json=as_json)
    return 0 if result.verdict == "verified" else EXIT_REFUTED


@command.command("measure")
@hosts_options
@guests_option
def measure(config: Path, *, scheduler: str | None, trust_network: bool, as_json: bool, verbose: bool) -> int:
    """Show what the guests of each host cost, and what sharing saves there: segments count once on each host.

    Exit status: 0 all hosts answered; 3 one cannot be asked.
    """
    result = _asked(config, scheduler, "measure", trusted=trust_network)
    _show(result, as_json=as_json, verbose=verbose)
    return EXIT_FAILED if _failed(result) else 0


@command.command("down")
@hosts_options
@workers_option
def down(config: Path, *, scheduler: str | None, trust_network: bool, workers: int | None, as_json: bool) -> int:
    """Take down what runs on any host. That nothing runs is no error.

    Exit status: 0 nothing is left; 3 a host cannot be asked: the command may be given again.
    """
    from dcss.fleet.operations import take_down

    with _fleet(config, scheduler, trusted=trust_network, workers=workers) as fleet:
        result = take_down(fleet)
    _show(result, as_json=as_json)
    return EXIT_FAILED if _failed(result) else 0


@contextmanager
def _fleet(config: Path, scheduler: str | None, *, trusted: bool, workers: int | None) -> "Iterator[Fleet]":
    from dcss.config.load_fleet import load_fleet
    from dcss.fleet.hosts import open_hosts
    from dcss.fleet.operations import Fleet, recorded_hosts
    from dcss.fleet.planning import known_hosts

    plan = load_fleet(config)
    if scheduler is not None and workers is not None:
        raise click.UsageError("found --workers beside --scheduler, wanted one of them: a scheduler has its workers.")
    names = (workers is None and recorded_hosts(plan)) or [host.name for host in known_hosts(plan, workers, 0)]
    with ExitStack() as stack:
        yield Fleet(plan, open_hosts(scheduler, names, trusted=trusted, stack=stack))


def _asked(config: Path, scheduler: str | None, question: "Question", *, trusted: bool) -> "FleetResult":
    from dcss.fleet.operations import ask_all

    with _fleet(config, scheduler, trusted=trusted, workers=None) as fleet:
        return ask_all(fleet, question)


def _failed(result: "FleetResult") -> bool:
    guests = [guest for host in result.hosts for guest in (host.document or {}).get("guests", ())]
    return any(host.reason is not None for host in result.hosts) or any(guest.get("exit_status") for guest in guests)


def _show(result: "FleetResult | FleetRunResult", *, as_json: bool, verbose: bool = False) -> None:
    if as_json:
        print_json(result.to_document())
        return
    from dcss.fleet.results import FleetResult
    from dcss.report.fleet_hosts_view import hosts_page, run_page

    if isinstance(result, FleetResult):
        print_page(hosts_page(result, show_all=verbose))
    else:
        print_page(run_page(result, show_all=verbose))

"""What the commands of a fleet have in common: how hosts are reached, asked, and said not to have answered."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import echo_error, json_option

if TYPE_CHECKING:
    from dcss.fleet.operations import Fleet, Question
    from dcss.fleet.results import FleetResult
    from dcss.progress import Progress

fleet_argument = click.argument("config", metavar="FLEET.yaml", type=click.Path(path_type=Path, readable=False))


def hosts_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command about a fleet reach the hosts: by a scheduler, or as stand-ins on this machine."""
    return fleet_argument(scheduler_options(function))


def scheduler_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command be told how hosts are reached."""
    for option in (
        click.option("--scheduler", metavar="ADDRESS", help="The Dask scheduler whose workers are the hosts."),
        click.option("--trust-network", is_flag=True, help="Take an address beyond this machine without TLS."),
    ):
        function = option(function)
    return json_option(function)


def evidence_directory_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command about a fleet take a directory of evidence, which has a file for each host."""
    return click.option("--evidence", type=click.Path(path_type=Path, readable=False), metavar="DIRECTORY", help=text)


@contextmanager
def opened_fleet(
    config: Path, scheduler: str | None, *, trusted: bool, workers: int | None = None
) -> "Iterator[Fleet]":
    """Connect to a fleet's hosts, and disconnect. Raises ConfigError, LaunchError."""
    from dcss.config.beside import FleetPlanBeside

    with FleetPlanBeside(config) as planning:
        from dcss.fleet.dask_hosts import open_hosts
        from dcss.fleet.local_cluster import import_dask
        from dcss.fleet.operations import Fleet, recorded_hosts
        from dcss.fleet.planning import known_hosts

        import_dask()
        plan = planning.result()
    if scheduler is not None and workers is not None:
        raise click.UsageError("found --workers beside --scheduler, wanted one of them: a scheduler has its workers.")
    names = (workers is None and recorded_hosts(plan)) or [host.name for host in known_hosts(plan, workers, 0)]
    with ExitStack() as stack:
        yield Fleet(plan, open_hosts(scheduler, names, trusted=trusted, stack=stack))


@contextmanager
def fleet_at_work(
    config: Path, scheduler: str | None, *, trusted: bool, workers: int | None
) -> "Iterator[tuple[Fleet, Progress]]":
    """Connect to a fleet's hosts for work that shows on stderr how far it is. Raises ConfigError, LaunchError."""
    from dcss.report.progress import progress_for

    with (
        opened_fleet(config, scheduler, trusted=trusted, workers=workers) as fleet,
        closing(progress_for(sys.stderr)) as progress,
    ):
        yield fleet, progress


def ask_fleet(config: Path, scheduler: str | None, question: "Question", *, trusted: bool) -> "FleetResult":
    """Ask each host of a fleet one thing. Raises ConfigError, LaunchError."""
    from dcss.fleet.operations import ask_all

    with opened_fleet(config, scheduler, trusted=trusted) as fleet:
        return ask_all(fleet, question)


def has_failed(result: "FleetResult") -> bool:
    """Return True if a host could not be asked, or one of its guests failed."""
    guests = [guest for host in result.hosts for guest in (host.document or {}).get("guests", ())]
    return any(host.reason is not None for host in result.hosts) or any(guest.get("exit_status") for guest in guests)


def echo_reasons(result: "FleetResult") -> None:
    """Write to stderr why hosts did not answer, where stdout has no place for it."""
    for host in result.hosts:
        if host.reason is not None:
            echo_error(f"dcss: host {host.host}: {host.reason}")

"""`dcss fleet`: one system's guests on several hosts."""

from pathlib import Path

import click

from dcss.cli.groups import CommandGroup
from dcss.cli.options import EXIT_FAILED, csv_option, json_option, only_one, print_json, print_page, print_rows


@click.group("fleet", cls=CommandGroup)
def command() -> None:
    """Run one system's guests on several hosts, with each segment in memory once on each host.

    FLEET.yaml is the YAML of a system with `hosts:` and `placement:`.
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
    dcss run small.yaml --json > run.json; dcss fleet plan fleet.yaml --measured run.json

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

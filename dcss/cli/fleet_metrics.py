"""`dcss fleet metrics FLEET.yaml`: a fleet as metrics for Prometheus, each sample with its host."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.fleet_hosts import ask_fleet, echo_reasons, hosts_options
from dcss.cli.metrics_output import MetricsOutput, output_options
from dcss.cli.options import EXIT_FAILED, only_one
from dcss.errors import DcssError

if TYPE_CHECKING:
    from dcss.fleet.results import FleetResult
    from dcss.report.openmetrics import HostMetrics


@click.command("metrics")
@hosts_options
@output_options
def command(
    config: Path,
    *,
    scheduler: str | None,
    trust_network: bool,
    listen: str | None,
    textfile: Path | None,
    as_json: bool,
) -> int:
    """Show what each host runs as metrics for Prometheus: those of dcss metrics, with the label `host`.

    \b
    dcss fleet metrics fleet.yaml                 print them once
    dcss fleet metrics fleet.yaml --listen 9477   serve them at port 9477

    `dcss_host_up` is 0 for a host that did not answer. The server asks each host at each scrape, and goes on while the
    fleet is down.

    Exit status: 0 all hosts answered; 3 one cannot be asked.
    """
    only_one(listen=listen, textfile=textfile)
    output = MetricsOutput(listen, textfile, as_json=as_json)

    def ask() -> "FleetResult":
        return ask_fleet(config, scheduler, "metrics", trusted=trust_network)

    result = ask()  # a fleet that is not up is an error now, and none later
    from dcss.report.openmetrics import FleetCollector

    source = _Scraped(ask).look if output.is_served else lambda: _by_host(result)
    output.give(FleetCollector(result.system, source), result.system)
    echo_reasons(result)
    return EXIT_FAILED if any(host.reason is not None for host in result.hosts) else 0


class _Scraped:
    """The answers of a fleet's hosts, asked for anew by each scrape, and by one at a time."""

    def __init__(self, ask: "Callable[[], FleetResult]") -> None:
        self._ask = ask
        self._lock = threading.Lock()  # each scrape has a thread of its own

    def look(self) -> "Mapping[str, HostMetrics]":
        """Ask each host; return nothing while the fleet is down, or its scheduler is lost."""
        with self._lock:
            try:
                return _by_host(self._ask())
            except DcssError:
                return {}


def _by_host(result: "FleetResult") -> "Mapping[str, HostMetrics]":
    return {host.host: None if host.document is None else host.document["metrics"] for host in result.hosts}

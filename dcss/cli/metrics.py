"""`dcss metrics [SYSTEM]`: a running system as metrics for Prometheus, which CP has no work with."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.metrics_output import MetricsOutput, output_options
from dcss.cli.options import json_option, only_one
from dcss.cli.systems import chosen, live_system, system_argument
from dcss.errors import DcssError

if TYPE_CHECKING:
    from dcss.account.sharing import SharedPages
    from dcss.rpc.look import LiveSystem, SystemLook


@click.command("metrics")
@system_argument
@output_options
@click.option("--dashboard", is_flag=True, help="Print a dashboard for Grafana that shows these metrics.")
@json_option
def command(system: str | None, listen: str | None, textfile: Path | None, dashboard: bool, as_json: bool) -> None:
    """Show a running system as metrics for Prometheus.

    \b
    dcss metrics                        print them once
    dcss metrics demo --listen 9477     serve http://127.0.0.1:9477/metrics
    dcss metrics demo --textfile /var/lib/prometheus/node-exporter/dcss.prom
    dcss metrics --dashboard > dcss-grafana.json

    The server gives Prometheus text, or OpenMetrics if Accept asks for it. It goes on while the system is down.
    """
    only_one(listen=listen, textfile=textfile, dashboard=dashboard)
    if dashboard:
        from dcss.report.openmetrics import dashboard_text

        click.echo(dashboard_text(), nl=False)
        return
    output = MetricsOutput(listen, textfile, as_json=as_json)
    name = chosen(system)
    scraped = _Scraped(name)  # a system that does not run is an error now, and none later
    from dcss.report.openmetrics import SystemCollector

    output.give(SystemCollector(name, scraped.look), name)


class _Scraped:
    """The looks at a system, one at a time: attached as long as its CP lives, since what sleeps is not read anew.

    Raises ConfigError and LaunchError where it does not run now.
    """

    def __init__(self, system: str) -> None:
        self._system = system
        self._lock = threading.Lock()  # each scrape has a thread of its own
        self._live: LiveSystem | None = live_system(system)

    def look(self) -> "tuple[SystemLook, SharedPages | None] | None":
        """Take a look; None while the system has ended, or starts again."""
        with self._lock:
            if self._live is not None and not self._live.lives:
                self._detach()
            try:
                self._live = self._live or live_system(self._system)
                look = self._live.look()
                return look, self._live.shared_pages(look.statistics)
            except DcssError:
                self._detach()
                return None

    def _detach(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

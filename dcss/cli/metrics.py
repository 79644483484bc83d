"""`dcss metrics [SYSTEM]`: a running system as metrics for Prometheus, which CP has no work with."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.options import check_written_path, echo_error, json_option, only_one, print_json
from dcss.cli.systems import chosen, live_system, system_argument
from dcss.errors import ConfigError, DcssError, LaunchError

if TYPE_CHECKING:
    from dcss.account.sharing import SharedPages
    from dcss.report.openmetrics import SystemCollector
    from dcss.rpc.look import LiveSystem, SystemLook

_LOOPBACK = "127.0.0.1"
_MAX_PORT = 65535


@click.command("metrics")
@system_argument
@click.option(
    "--listen",
    metavar="[ADDRESS:]PORT",
    help="Serve the metrics by HTTP until Ctrl-C; without ADDRESS for programs of this machine only.",
)
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Write the metrics to FILE once, for node_exporter, which reads names that end in .prom.",
)
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
    place = None if listen is None else _address(listen)
    if textfile is not None:
        check_written_path("--textfile", textfile)
    name = chosen(system)
    scraped = _Scraped(name)  # a system that does not run is an error now, and none later
    from dcss.report.openmetrics import SystemCollector

    collector = SystemCollector(name, scraped.look)
    if place is not None:
        _serve(*place, collector, name, as_json=as_json)
    elif textfile is not None:
        _write(textfile, collector)
        if as_json:
            print_json({"system": name, "file": str(textfile)})
    else:
        _print(collector, name, as_json=as_json)


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


def _print(collector: "SystemCollector", system: str, *, as_json: bool) -> None:
    from dcss.report.openmetrics import metrics_document, metrics_text

    if as_json:
        print_json({"system": system, "metrics": metrics_document(collector)})
    else:
        click.echo(metrics_text(collector), nl=False)


def _write(path: Path, collector: "SystemCollector") -> None:
    from dcss.report.openmetrics import write_textfile

    try:
        write_textfile(path, collector)
    except OSError as error:
        raise LaunchError(f"--textfile: {path} cannot be written: {error.strerror}") from error


def _serve(address: str, port: int, collector: "SystemCollector", system: str, *, as_json: bool) -> None:
    from dcss.report.openmetrics import serve_metrics

    try:
        server, _ = serve_metrics(address, port, collector)
    except OSError as error:
        raise LaunchError(f"--listen: {address} port {port} cannot be served: {error.strerror or error}") from error
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{server.server_port}/metrics"
    if as_json:
        print_json({"system": system, "url": url})
    else:
        echo_error(f"{system}: metrics at {url}")
    try:
        threading.Event().wait()
    finally:
        server.shutdown()
        server.server_close()


def _address(listen: str) -> tuple[str, int]:
    """Return address and port of --listen. Raises ConfigError."""
    address, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT) or (":" in address and address[0] != "["):
        raise ConfigError(f"--listen: found {listen!r}, wanted PORT, ADDRESS:PORT or [ADDRESS]:PORT")
    return address.strip("[]") or _LOOPBACK, int(port)

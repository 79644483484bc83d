"""What commands do with metrics: print them once, write them to a file, or serve them by HTTP."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import echo_error, print_json
from dcss.errors import ConfigError, LaunchError
from dcss.host.written_path import check_written_path

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

_LOOPBACK = "127.0.0.1"
_MAX_PORT = 65535


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command serve its metrics, or write them to a file."""
    listen = click.option(
        "--listen",
        metavar="[ADDRESS:]PORT",
        help="Serve the metrics by HTTP until Ctrl-C; without ADDRESS for programs of this machine only.",
    )
    textfile = click.option(
        "--textfile",
        type=click.Path(path_type=Path, readable=False),
        metavar="FILE",
        help="Write the metrics to FILE once, for node_exporter, which reads names that end in .prom.",
    )
    return listen(textfile(function))


class MetricsOutput:
    """Where metrics go. Raises ConfigError where that is no address, or no file that can be written."""

    def __init__(self, listen: str | None, textfile: Path | None, *, as_json: bool) -> None:
        self._place = None if listen is None else _address(listen)
        if textfile is not None:
            check_written_path("--textfile", textfile)
        self._textfile, self._as_json = textfile, as_json

    @property
    def is_served(self) -> bool:
        """Metrics are asked for again and again, until Ctrl-C."""
        return self._place is not None

    def give(self, collector: "Collector", system: str) -> None:
        """Put the metrics of a system there. Raises LaunchError where that fails."""
        if self._place is not None:
            _serve(*self._place, collector, system, as_json=self._as_json)
        elif self._textfile is not None:
            _write(self._textfile, collector)
            if self._as_json:
                print_json({"system": system, "file": str(self._textfile)})
        else:
            _print(collector, system, as_json=self._as_json)


def _print(collector: "Collector", system: str, *, as_json: bool) -> None:
    from dcss.report.openmetrics import metrics_document, metrics_text

    if as_json:
        print_json({"system": system, "metrics": metrics_document(collector)})
    else:
        click.echo(metrics_text(collector), nl=False)


def _write(path: Path, collector: "Collector") -> None:
    from dcss.report.openmetrics import write_textfile

    try:
        write_textfile(path, collector)
    except OSError as error:
        raise LaunchError(f"--textfile: {path} cannot be written: {error.strerror}") from error


def _serve(address: str, port: int, collector: "Collector", system: str, *, as_json: bool) -> None:
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

"""Running systems and fleets as metrics, for Prometheus and what reads its formats; the one importer of its library."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dcss.abi import statistics as abi
from dcss.version import VERSION

if TYPE_CHECKING:
    from dcss.account.sharing import SharedPages
    from dcss.rpc.look import SystemLook

Source = Callable[[], "tuple[SystemLook, SharedPages | None] | None"]

HostMetrics = Sequence[Mapping[str, Any]] | None  # the rows of metrics_document on a host; None: it did not answer


class SystemCollector(Collector):
    """Makes the metrics of one system whenever they are asked for; none but `dcss_build_info` where `source` has none.

    What is unknown has no sample.
    """

    def __init__(self, system: str, source: Source) -> None:
        self._system, self._source = system, source

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its samples."""
        yield InfoMetricFamily("dcss_build", "The version of dcss.", {"system": self._system, "version": VERSION})
        found = self._source()
        if found is None:
            return
        look, shared = found
        yield from self._guests(look)
        yield from self._segments(look)
        yield self._claims(look)
        yield self._hypercalls(look)
        yield from self._sharing(shared)

    def _guests(self, look: "SystemLook") -> Iterator[Metric]:
        private = GaugeMetricFamily(
            "dcss_guest_private_bytes",
            "Memory that only this guest's process maps, emulator included.",
            labels=["system", "guest", "engine"],
            unit="bytes",
        )
        for guest in look.statistics.guests:
            size_bytes = look.private_bytes.get(guest.name)
            if size_bytes is not None:
                private.add_metric([self._system, guest.name, guest.engine], size_bytes)
        yield private

    def _segments(self, look: "SystemLook") -> Iterator[Metric]:
        labels = ["system", "segment"]
        resident = GaugeMetricFamily(
            "dcss_segment_resident_bytes", "Memory that a segment's object takes.", labels=labels, unit="bytes"
        )
        users = GaugeMetricFamily("dcss_segment_users", "Guests that have a segment loaded.", labels=labels)
        for segment in look.statistics.segments:
            values = [self._system, abi.text_of(segment.name)]
            users.add_metric(values, segment.users)
            size_bytes = look.resident_bytes.get(abi.text_of(segment.shm))
            if size_bytes is not None:
                resident.add_metric(values, size_bytes)
        yield resident
        yield users

    def _claims(self, look: "SystemLook") -> Metric:
        holds = GaugeMetricFamily(
            "dcss_claim_holds",
            "Whether a claim held in the last proof: 1 or 0; none where it is unknown or does not apply.",
            labels=["system", "claim"],
        )
        for claim in look.statistics.claims:
            if claim.applies and claim.holds in {0, 1}:
                holds.add_metric([self._system, abi.text_of(claim.name)], claim.holds)
        return holds

    def _hypercalls(self, look: "SystemLook") -> Metric:
        calls = CounterMetricFamily(
            "dcss_hypercalls",
            "Hypercalls of guests that CP answered, by function and condition code.",
            labels=["system", "function", "cc"],
        )
        for index, function in enumerate(abi.FUNCTIONS):
            for code in range(abi.CONDITION_CODES):
                word = index * abi.CONDITION_CODES + code
                count = sum(guest.hypercalls[word] for guest in look.statistics.guests)
                if count:
                    calls.add_metric([self._system, function, str(code)], count)
        return calls

    def _sharing(self, shared: "SharedPages | None") -> Iterator[Metric]:
        once = GaugeMetricFamily(
            "dcss_pages_shared", "Pages of segments in use by two guests or more.", labels=["system"]
        )
        more = GaugeMetricFamily(
            "dcss_pages_sharing", "Pages that this sharing saves: users beyond the first.", labels=["system"]
        )
        if shared is not None:
            once.add_metric([self._system], shared.shared)
            more.add_metric([self._system], shared.sharing)
        yield once
        yield more


class FleetCollector(Collector):
    """Makes the metrics of a fleet from those of its hosts: labels say which host, and the fleet's name as `system`."""

    def __init__(self, system: str, source: Callable[[], Mapping[str, HostMetrics]]) -> None:
        self._system, self._source = system, source

    def collect(self) -> Iterator[Metric]:
        """Yield whether each host answered, and each metric with the samples of all hosts."""
        up = GaugeMetricFamily(
            "dcss_host_up", "Whether a host of the fleet answered: 1 or 0.", labels=["system", "host"]
        )
        metrics: dict[str, Metric] = {}
        for host, rows in self._source().items():
            up.add_metric([self._system, host], int(rows is not None))
            for row in rows or ():
                name = row["name"]
                metric = metrics.setdefault(name, Metric(name, row["help"], row["type"], row["unit"]))
                for sample in row["samples"]:
                    labels = {**sample["labels"], "system": self._system, "host": host}
                    metric.add_sample(sample["name"], labels, sample["value"])
        yield up
        yield from metrics.values()


def registry_of(collector: Collector) -> CollectorRegistry:
    """Return a registry that has this collector and nothing about the process that serves it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def metrics_text(collector: Collector) -> str:
    """Return the metrics in Prometheus text."""
    return generate_latest(registry_of(collector)).decode()


def metrics_document(collector: Collector) -> list[dict[str, object]]:
    """Return the metrics as plain rows."""
    return [
        {
            "name": metric.name,
            "type": metric.type,
            "help": metric.documentation,
            "unit": metric.unit,
            "samples": [
                {"name": sample.name, "labels": dict(sample.labels), "value": sample.value} for sample in metric.samples
            ],
        }
        for metric in registry_of(collector).collect()
    ]


def write_textfile(path: Path, collector: Collector) -> None:
    """Replace a file by the metrics in Prometheus text: a reader finds the old or the new one, whole."""
    write_to_textfile(os.fspath(path), registry_of(collector))


def serve_metrics(address: str, port: int, collector: Collector) -> tuple[WSGIServer, threading.Thread]:
    """Serve the metrics by HTTP in a thread: as Prometheus text, or OpenMetrics where Accept asks for it."""
    return start_http_server(port, address, registry_of(collector))


def dashboard_text() -> str:
    """Return the dashboard for Grafana, as JSON."""
    return (files("dcss") / "report" / "grafana.json").read_text("utf-8")

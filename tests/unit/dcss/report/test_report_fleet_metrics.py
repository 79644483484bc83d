"""Metrics of a fleet are those of its hosts, with the host of each sample."""

from dcss.report.openmetrics import FleetCollector, HostMetrics, metrics_document, metrics_text


def rows(value: float) -> HostMetrics:
    def row(name: str, kind: str, unit: str, sample: str, labels: dict[str, str]) -> dict[str, object]:
        samples = [{"name": sample, "labels": {"system": "web-here", **labels}, "value": value}]
        return {"name": name, "type": kind, "help": "What it is.", "unit": unit, "samples": samples}

    return [
        row("dcss_guest_private_bytes", "gauge", "bytes", "dcss_guest_private_bytes", {"guest": "G1"}),
        row("dcss_hypercalls", "counter", "", "dcss_hypercalls_total", {"cc": "0"}),
    ]


def test_each_sample_has_its_host_and_a_metric_stands_there_once() -> None:
    text = metrics_text(FleetCollector("web", lambda: {"a": rows(1), "b": rows(2), "c": None}))
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'dcss_host_up{host="a",system="web"} 1.0',
        'dcss_host_up{host="b",system="web"} 1.0',
        'dcss_host_up{host="c",system="web"} 0.0',
        'dcss_guest_private_bytes{guest="G1",host="a",system="web"} 1.0',
        'dcss_guest_private_bytes{guest="G1",host="b",system="web"} 2.0',
        'dcss_hypercalls_total{cc="0",host="a",system="web"} 1.0',
        'dcss_hypercalls_total{cc="0",host="b",system="web"} 2.0',
    ]
    assert text.count("# TYPE dcss_guest_private_bytes gauge") == 1
    assert text.count("# TYPE dcss_hypercalls_total counter") == 1


def test_what_hosts_print_is_printed_of_them_again() -> None:
    (_, *found) = metrics_document(FleetCollector("web", lambda: {"a": rows(1)}))
    assert [(row["name"], row["type"], row["unit"]) for row in found] == [
        ("dcss_guest_private_bytes", "gauge", "bytes"),
        ("dcss_hypercalls", "counter", ""),
    ]
    assert metrics_document(FleetCollector("web", dict))[0]["samples"] == []

"""`dcss metrics` of a real system: names, formats, and a real Prometheus that scrapes it."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss, made_user
from needs_support import needs, tool

NAMES = {
    "dcss_build_info",
    "dcss_claim_holds",
    "dcss_guest_private_bytes",
    "dcss_hypercalls_total",
    "dcss_pages_shared",
    "dcss_pages_sharing",
    "dcss_segment_resident_bytes",
    "dcss_segment_users",
}
_SAMPLE = re.compile(r"^([a-z_]+)\{(.*)\} (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def up() -> Iterator[Dcss]:
    with made_user() as dcss:
        config = dcss.config(f"name: G, count: 3, {GUEST}, {MAP}", f"name: IDLE, {GUEST}")
        dcss("up", config, "-d")
        dcss("guest", "stop", "IDLE")
        yield dcss
        dcss("down")
        dcss.assert_nothing_left()


def samples(text: str) -> dict[str, dict[str, float]]:
    """Return each metric's values by the text of their labels, but for the system."""
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in _SAMPLE.findall(text):
        kept = ",".join(label for label in labels.split(",") if not label.startswith("system="))
        found.setdefault(name, {})[kept] = float(value)
    return found


def test_each_metric_has_its_name_and_what_is_unknown_no_sample() -> None:
    with made_user() as dcss:
        dcss("up", dcss.guests(2), "-d")
        text = dcss("metrics", dcss.system).stdout
        assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == NAMES
        assert set(samples(text)) == NAMES - {"dcss_claim_holds"}  # nothing has been proved yet
        claims = dcss.json("verify")["claims"]
        assert samples(dcss("metrics").stdout)["dcss_claim_holds"] == {
            f'claim="{claim["claim"]}"': float(claim["holds"])
            for claim in claims
            if claim["applies"] and claim["holds"] is not None
        }
        dcss("down")


def test_the_values_are_those_of_ps_and_measure(up: Dcss) -> None:
    found = samples(up("metrics", up.system).stdout)
    measured = up.json("measure", up.system)
    (segment,) = measured["segments"]
    assert found["dcss_segment_resident_bytes"] == {'segment="LIB"': segment["resident_bytes"]}
    assert found["dcss_segment_users"] == {'segment="LIB"': segment["guests"]}
    assert set(found["dcss_guest_private_bytes"]) == {f'engine="process",guest="G{n:02}"' for n in (1, 2, 3)}
    used = [guest["guest"]["xip_bytes"] // 4096 for guest in measured["guests"]]
    assert found["dcss_pages_shared"] == {"": max(used)}
    assert found["dcss_pages_sharing"] == {"": sum(used) - max(used)}
    assert found["dcss_hypercalls_total"]['cc="0",function="LOADSHRX"'] == 4
    rows = up.json("metrics", up.system)["metrics"]
    assert {sample["name"] for metric in rows for sample in metric["samples"]} <= NAMES


@needs("promtool")
def test_promtool_finds_nothing_to_say(up: Dcss) -> None:
    up("verify", up.system)
    promtool = tool("promtool")
    assert promtool is not None
    text = up("metrics", up.system).stdout
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_textfile_is_replaced_as_a_whole(up: Dcss, tmp_path: Path) -> None:
    path = tmp_path / "dcss.prom"
    path.write_text("old\n")
    with path.open() as reader:
        up("metrics", up.system, "--textfile", path)
        assert reader.read() == "old\n"  # who has begun to read gets the old one
    assert set(samples(path.read_text())) >= NAMES - {"dcss_claim_holds"}
    assert list(tmp_path.iterdir()) == [path]
    assert f"found no directory {tmp_path}/none" in up("metrics", "--textfile", tmp_path / "none/x", status=2).stderr


@contextmanager
def served(dcss: Dcss, listen: str = "0") -> Iterator[str]:
    """Serve the metrics, and yield the URL."""
    with dcss.start("metrics", dcss.system, "--listen", listen, stderr=subprocess.PIPE) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            assert line.startswith(f"{dcss.system}: metrics at http://"), line
            yield line.split()[-1]
        finally:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 128 + signal.SIGINT


def get(url: str, accept: str = "") -> tuple[str, str]:
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_the_server_gives_the_format_that_is_asked_for_and_to_this_machine_alone(up: Dcss) -> None:
    with served(up) as url:
        assert url.startswith("http://127.0.0.1:")
        kind, text = get(url)
        assert kind.startswith("text/plain; version=0.0.4")
        assert set(samples(text)) <= NAMES
        kind, text = get(url, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert text.endswith("# EOF\n")
        assert "# UNIT dcss_guest_private_bytes bytes" in text
        assert "# TYPE dcss_hypercalls counter" in text
        assert "# TYPE dcss_build info" in text


def test_the_server_outlives_its_system() -> None:
    with made_user() as dcss:
        dcss("up", dcss.guests(1), "-d")
        with served(dcss) as url:
            dcss("down")
            assert set(samples(get(url)[1])) == {"dcss_build_info"}
            dcss("up", dcss.home / "system.yaml", "-d")
            assert "dcss_segment_users" in samples(get(url)[1])
        dcss("down")


@pytest.mark.parametrize("listen", ["x", "127.0.0.1:x", "70000", "::1:9477", "", "1:2:3"])
def test_an_address_that_is_none_is_an_error(up: Dcss, listen: str) -> None:
    assert f"--listen: found {listen!r}, wanted PORT" in up("metrics", up.system, "--listen", listen, status=2).stderr


def test_a_port_in_use_is_an_error(up: Dcss) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = up("metrics", up.system, "--listen", f"127.0.0.1:{port}", status=3)
    assert f"--listen: 127.0.0.1 port {port} cannot be served: Address already in use" in done.stderr


def test_a_system_that_does_not_run_is_an_error(up: Dcss) -> None:
    done = up("metrics", "nosuch", "--listen", "0", status=2)
    assert "system nosuch: found none of that name that runs" in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def expressions(dashboard: Any) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_for_what_is_served(up: Dcss) -> None:
    dashboard = json.loads(up("metrics", "--dashboard").stdout)
    asked = {name for expression in expressions(dashboard) for name in re.findall(r"dcss_[a-z_]+", expression)}
    variables = {str(variable["query"]) for variable in dashboard["templating"]["list"]}
    asked |= {name for query in variables for name in re.findall(r"dcss_[a-z_]+", query)}
    assert asked == NAMES
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.slow
@needs("prometheus")
def test_a_real_prometheus_scrapes_it_and_answers_every_query_of_the_dashboard(up: Dcss, tmp_path: Path) -> None:
    up("verify", up.system)
    prometheus = tool("prometheus")
    assert prometheus is not None
    with served(up) as url:
        target = urllib.parse.urlsplit(url).netloc
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 200ms}\n"
            f"scrape_configs: [{{job_name: dcss, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        api = f"127.0.0.1:{free_port()}"
        command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with (
            (tmp_path / "log").open("w") as log,
            subprocess.Popen([*command, f"--web.listen-address={api}"], stderr=log, env={**os.environ}) as server,
        ):
            try:
                scraped = wait_for_query(api, "count(dcss_hypercalls_total)")
                assert float(scraped[0]["value"][1]) > 0
                assert query(api, "up")[0]["value"][1] == "1"
                for expression in expressions(json.loads(up("metrics", "--dashboard").stdout)):
                    asked = expression.replace("$system", ".*").replace("$__rate_interval", "1m")
                    found = wait_for_query(api, asked)
                    assert all(row["metric"].get("system", up.system) == up.system for row in found)
            finally:
                server.terminate()


def query(api: str, expression: str) -> list[Any]:
    parameters = urllib.parse.urlencode({"query": expression})
    answer = json.loads(get(f"http://{api}/api/v1/query?{parameters}")[1])
    assert answer["status"] == "success"
    result: list[Any] = answer["data"]["result"]
    return result


def wait_for_query(api: str, expression: str, seconds: float = 90.0) -> list[Any]:
    """Ask until there is an answer: nothing tells when Prometheus has scraped, and twice for a rate."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = query(api, expression)
        except OSError:  # it starts
            found = []
        if found:
            return found
        assert time.monotonic() < end, expression
        time.sleep(0.1)

"""Who may reach the workers of a fleet: loopback, TLS, or a network that is said to be trusted; and which versions.

The configuration of TLS is that of docs/fleet.md, in variables.
"""

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_support import GUEST, MAP, Dcss
from dask_support import LOOPBACK, Dask, make_certificate
from needs_support import needs

from dcss.fleet import tasks
from dcss.fleet.hosts import is_plain
from dcss.fleet.sweep import task
from dcss.version import VERSION


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(closing: ExitStack, dask: Dask) -> Dask:
    closing.callback(dask.close)
    return dask


def write_sweep(dcss: Dcss) -> Path:
    dcss.config(f"name: G, {GUEST}, {MAP}")
    path = dcss.home / "sweep.yaml"
    path.write_text("system: system.yaml\nmatrix: {guests.G.count: [1]}\n")
    return path


@pytest.mark.slow
def test_what_listens_beyond_loopback_is_refused_unless_the_network_is_trusted(home: Dcss, closing: ExitStack) -> None:
    dask = started(closing, Dask(home, options=("--host", "0.0.0.0")))
    port = dask.address.rpartition(":")[2]
    dask.worker("a")
    path = write_sweep(home)
    words = ("sweep", path, "--scheduler", f"127.0.0.1:{port}")
    refused = home(*words, status=2).stderr
    assert "wanted tls://…, or a loopback address (dask scheduler --host 127.0.0.1)" in refused
    assert len(refused.splitlines()) == 1
    (row,) = home.json(*words, "--trust-network")["rows"]
    assert (row["worker"], row["verdict"]) == ("a", "verified")


@pytest.mark.slow
@needs("openssl")
def test_tls_is_taken_as_dask_has_it_and_without_its_certificate_nobody_gets_in(home: Dcss, closing: ExitStack) -> None:
    tls = make_certificate(home.home)
    dask = started(closing, Dask(home, options=(*LOOPBACK, "--protocol", "tls"), environment=tls))
    assert dask.address.startswith("tls://")
    dask.worker("a")
    path = write_sweep(home)
    (nobody,) = home("sweep", path, "--scheduler", dask.address, status=2).stderr.splitlines()
    assert "found no certificate in Dask's configuration, wanted distributed.comm.tls.ca-file" in nobody
    other = home.home / "other"
    other.mkdir()
    own, home.environment = home.environment, {**home.environment, **make_certificate(other)}
    (stranger,) = home("sweep", path, "--scheduler", dask.address, status=3).stderr.splitlines()
    assert f"--scheduler: {dask.address} does not answer" in stranger
    home.environment = own
    home.environment |= tls
    (row,) = home.json("sweep", path, "--scheduler", dask.address)["rows"]
    assert (row["worker"], row["verdict"]) == ("a", "verified")


@pytest.mark.slow
def test_a_host_of_another_version_is_refused_and_both_are_named(home: Dcss, closing: ExitStack) -> None:
    other = home.home / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import dcss.version\ndcss.version.VERSION = '9.9'\n")
    dask = started(closing, Dask(home))
    dask.worker("a")
    dask.worker("b", {"PYTHONPATH": f"{other}:{home.environment['PYTHONPATH']}"})
    said = f"host b has dcss 9.9, this machine {VERSION}: install the same version on both"
    assert said in home("sweep", write_sweep(home), "--scheduler", dask.address, status=3).stderr
    fleet = home.home / "fleet.yaml"
    fleet.write_text(f"hosts: all\n{(home.home / 'system.yaml').read_text()}")
    assert said in home("fleet", "up", fleet, "--scheduler", dask.address, status=3).stderr
    assert home.objects() == []


@pytest.mark.parametrize(
    "function", [task.run_configuration, task.stop_configurations, tasks.ensure_up, tasks.store_chunk]
)
def test_a_task_is_sent_by_its_name_alone(function: object) -> None:
    protocol = pytest.importorskip("distributed.protocol.pickle", reason="Dask is not installed (extra fleet)")
    sent = protocol.dumps(function)
    assert sent == pickle.dumps(function, protocol=protocol.HIGHEST_PROTOCOL)
    assert len(sent) < 100


def test_what_is_no_plain_data_is_no_answer() -> None:
    assert is_plain({"a": [1, 2.5, None, True, "x", b"y"]})
    assert not is_plain({"a": [Path("/")]})
    assert not is_plain({1: "a"})

"""Three hosts on one machine that share neither network nor memory: namespaces with a /dev/shm mount of their own."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss
from dask_support import Dask
from namespaces_support import made_namespaces

HOSTS = ("h1", "h2", "h3")


def by_host(result: Any) -> dict[str, Any]:
    return {host["host"]: host["document"] for host in result["hosts"]}


def write_system(path: Path, head: str, guests: int) -> None:
    path.write_text(
        f"{head}\nsegments: [{{name: LIB, at: 0x20000000, image: {{directory: tree}}}}]\n"
        f"guests: [{{name: G, count: {guests}, {GUEST}, {MAP}}}]\n"
    )


@pytest.mark.slow
@pytest.mark.minutes
def test_three_hosts_come_to_the_sum_of_single_ones(home: Dcss) -> None:
    name, path = f"n{os.getpid()}", home.home / "fleet.yaml"
    write_system(path, f"system: {name}\nhosts: [{', '.join(HOSTS)}]\nplacement: spread", 6)
    with ExitStack() as closing:
        made = closing.enter_context(made_namespaces(HOSTS))
        dask = Dask(home, options=("--host", made.address))
        closing.callback(dask.close)
        for name_of_host, host in made.hosts.items():
            dask.worker(name_of_host, prefix=host.prefix, options=("--host", host.address))
        words = (path, "--scheduler", dask.address)
        assert "wanted tls://" in home("fleet", "up", *words, status=2).stderr
        result = home.json("fleet", "run", *words, "--trust-network")
    assert result["verdict"] == "verified"
    measured = by_host(result["measure"])
    assert {host: len(each["guests"]) for host, each in measured.items()} == dict.fromkeys(HOSTS, 2)
    assert result["up"]["sent_bytes"] == 3 * (result["up"]["sent_bytes"] // 3) > 0
    # Nothing of the hosts was in this machine's own /dev/shm, nor is now.
    assert list(Path("/dev/shm").glob(f"dcss.{name}-*")) == []
    write_system(home.home / "single.yaml", f"system: {name}s", 2)
    single = home.json("run", home.home / "single.yaml")
    assert single["verify"]["verdict"] == "verified"
    (segment,) = single["measure"]["segments"]
    mapped = [guest["mapped_segment_bytes"] for guest in single["measure"]["guests"]]
    for document in measured.values():
        assert [guest["mapped_segment_bytes"] for guest in document["guests"]] == mapped
        assert [each["resident_bytes"] for each in document["segments"]] == [segment["resident_bytes"]]
    totals = result["measure"]["totals"]
    assert totals["segment_bytes"] == 3 * segment["resident_bytes"]
    assert totals["saved_bytes"] == 3 * single["measure"]["totals"]["saved_bytes"]

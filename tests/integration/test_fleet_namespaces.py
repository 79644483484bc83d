"""Three hosts on one machine that share neither network nor memory: namespaces with a /dev/shm mount of their own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss
from dask_support import Dask

HOSTS = ("h1", "h2", "h3")
NETWORK = "10.117.17"
SHM = 'mount -t tmpfs -o mode=1777 none /dev/shm && exec "$@"'


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def prefixes() -> Iterator[dict[str, list[str]]]:
    """Make a bridge and three namespaces on it; yield for each host what a command on it begins with."""
    mark = f"d{os.getpid() % 100_000}"
    with ExitStack() as made:
        try:
            ip("link", "add", mark, "type", "bridge")
            made.callback(ip, "link", "del", mark)
            ip("addr", "add", f"{NETWORK}.254/24", "dev", mark)
            ip("link", "set", mark, "up")
            for number, host in zip(count(1), HOSTS):
                space, outer = f"{mark}-{host}", f"{mark}o{number}"
                ip("netns", "add", space)
                made.callback(ip, "netns", "del", space)
                ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
                ip("link", "set", outer, "master", mark, "up")
                ip("-n", space, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
                ip("-n", space, "link", "set", "eth0", "up")
                ip("-n", space, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"needs root, iproute2, and to be allowed network namespaces: {error}")
        yield {host: ["ip", "netns", "exec", f"{mark}-{host}", "sh", "-c", SHM, "sh"] for host in HOSTS}


def by_host(result: Any) -> dict[str, Any]:
    return {host["host"]: host["document"] for host in result["hosts"]}


def write_system(path: Path, head: str, guests: int) -> None:
    path.write_text(
        f"{head}\nsegments: [{{name: LIB, at: 0x20000000, image: {{directory: tree}}}}]\n"
        f"guests: [{{name: G, count: {guests}, {GUEST}, {MAP}}}]\n"
    )


@pytest.mark.slow
@pytest.mark.minutes
def test_three_hosts_come_to_the_sum_of_single_ones(home: Dcss, prefixes: dict[str, list[str]]) -> None:
    name, path = f"n{os.getpid()}", home.home / "fleet.yaml"
    write_system(path, f"system: {name}\nhosts: [{', '.join(HOSTS)}]\nplacement: spread", 6)
    with ExitStack() as closing:
        dask = Dask(home, options=("--host", f"{NETWORK}.254"))
        closing.callback(dask.close)
        for number, host in zip(count(1), HOSTS):
            dask.worker(host, prefix=prefixes[host], options=("--host", f"{NETWORK}.{number}"))
        words = (path, "--scheduler", dask.address)
        assert "wanted tls://" in home("fleet", "up", *words, status=2).stderr
        result = home.json("fleet", "run", *words, "--trust-network", timeout_seconds=170)
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

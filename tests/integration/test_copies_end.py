"""Copies that run end with whoever asked for them, or with the system; no half file stays."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest
from cli_support import GUEST, Dcss
from wait_support import wait_until

IMPORT = ("--name", "NEW", "--at", "1G")


@pytest.fixture
def image(dcss: Dcss) -> Iterator[Path]:
    path = dcss.home / "image"
    with path.open("wb") as file:
        file.truncate(2000 << 20)
    path.chmod(0o644)
    yield path
    path.unlink()


def spool(dcss: Dcss) -> Path:
    return dcss.home / "state/dcss" / dcss.system


def unfinished(dcss: Dcss) -> list[Path]:
    return [*spool(dcss).glob("*.new"), *spool(dcss).glob("*.content")]


def defined(dcss: Dcss) -> bool:
    """Tell whether the spool has the segment that was imported; it has others of the system."""
    names = [line.split()[1] for line in dcss("segment", "query", "--system", dcss.system).stdout.splitlines()[1:]]
    return "NEW" in names


@pytest.mark.parametrize("end", ["down", "SIGTERM"])
def test_an_import_ends_with_the_system(dcss: Dcss, image: Path, end: str) -> None:
    dcss("up", dcss.config(f"name: G, {GUEST}"), "-d")
    importing = dcss.start("segment", "import", image, *IMPORT, "--system", dcss.system, stdout=PIPE, stderr=PIPE)
    wait_until(lambda: unfinished(dcss))
    if end == "down":
        dcss("down", dcss.system)
    else:
        os.kill(dcss.ps()["pid"], signal.SIGTERM)
    importing.communicate(timeout=300)
    assert importing.returncode != 0
    dcss.assert_nothing_left()
    assert not unfinished(dcss)
    assert not defined(dcss)


@pytest.mark.parametrize("running", [False, True])
def test_an_import_ends_with_its_client(dcss: Dcss, image: Path, running: bool) -> None:
    if running:
        dcss("up", dcss.config(f"name: G, {GUEST}"), "-d")
    importing = dcss.start("segment", "import", image, *IMPORT, "--system", dcss.system, stdout=PIPE, stderr=PIPE)
    wait_until(lambda: unfinished(dcss))
    importing.send_signal(signal.SIGINT)
    importing.communicate(timeout=300)
    assert importing.returncode == 130
    wait_until(lambda: not unfinished(dcss))
    if running:
        assert dcss("cp", "QUERY NSS", "--system", dcss.system, status=None).stdout.count(" NEW ") == 0
        dcss("down", dcss.system)
    assert not defined(dcss)

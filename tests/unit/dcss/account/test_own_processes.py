"""What CP, the fork server and templates cost, by rows of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.account import own_processes as module
from dcss.account.own_processes import own_processes
from dcss.account.targets import SegmentTarget, SystemTarget
from dcss.errors import MeasurementDeniedError
from dcss.host.mapping import FileMapping
from dcss.results import HostCosts

SEGMENT_BYTES = 32 << 20


@contextmanager
def process(name: str) -> Iterator[int]:
    """Run a process of this name, which has touched 8 MiB."""
    code = (
        "import sys\nopen('/proc/self/comm', 'w').write(sys.argv[1])\nkept = b'x' * (8 << 20)\n"
        "print('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield running.pid
        running.kill()


def system(*others: int, segments: tuple[SegmentTarget, ...] = ()) -> SystemTarget:
    return SystemTarget("s", os.getpid(), others, (), segments)


def test_each_name_has_a_row_and_those_of_one_name_are_added_up() -> None:
    with process("dcss:forkserver") as server, process("dcss:template") as one, process("dcss:template") as two:
        cp, forkserver, template = own_processes(system(server, one, two))
    assert (cp.name, cp.pids) == ("CP", (os.getpid(),))
    assert (forkserver.name, forkserver.pids) == ("forkserver", (server,))
    assert (template.name, template.pids) == ("template", (one, two))
    assert forkserver.host.uss_bytes is not None
    assert template.host.uss_bytes is not None
    assert forkserver.host.uss_bytes > 8 << 20
    assert template.host.uss_bytes > 16 << 20
    assert (forkserver.host.page_table_bytes or 0) >= PAGE_SIZE


def test_the_segments_that_cp_maps_are_left_out() -> None:
    descriptor = os.memfd_create("segment")
    try:
        os.ftruncate(descriptor, SEGMENT_BYTES)
        mapping = FileMapping(descriptor, SEGMENT_BYTES)
        mapping.populate()
        segment = SegmentTarget(
            name="LIB",
            type=SegmentType.SR,
            shm_name="/x",
            descriptor=descriptor,
            address=mapping.address,
            size_bytes=SEGMENT_BYTES,
            digest="",
            start=0,
        )
        with_it, without = own_processes(system())[0], own_processes(system(segments=(segment,)))[0]
        mapping.close()
    finally:
        os.close(descriptor)
    assert with_it.host.rss_bytes is not None
    assert without.host.rss_bytes is not None
    assert with_it.host.rss_bytes - without.host.rss_bytes > SEGMENT_BYTES - (4 << 20)


def test_one_that_has_ended_is_left_out_and_one_that_is_hidden_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    with process("dcss:template") as ended:
        pass
    assert [row.name for row in own_processes(system(ended))] == ["CP"]

    def denied(*_: object) -> None:
        raise MeasurementDeniedError("no")

    monkeypatch.setattr(module, "read_rollup", denied)
    assert own_processes(system())[0].host == HostCosts(None, None, None, None)

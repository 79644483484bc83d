"""A guest from its boot to its end: its verdict, the commands that it answers, and what its log says."""

import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cp_support import BlockingCp
from guest_support import Answering, definition, fill_with, reservation
from image_support import build

from dcss.abi.console import (
    ACCESS,
    CANCEL_REQUEST,
    COUNTERS,
    COUNTERS_REQUEST,
    EXIT_STATUS,
    OUTPUT_BYTES,
    PACKET_BYTES,
    STATUS,
    STDERR,
    STDOUT,
    VERDICT,
    Counters,
    Verdict,
    pack_exec,
)
from vmguest import hostmem, workload
from vmguest.bootstrap import CRASHED, FAILED, GuestHost, run_guest
from vmguest.mm_area import BusError, MemoryAccessError, SegmentationFaultError
from vmguest.spec import GuestSpec
from vmguest.workload import compiled, prepare

ROOT = ("dcssblk0", "/", ("ro",), "")
LARGE_BYTES = 2 * OUTPUT_BYTES + 5


def spec(*steps: tuple[str, ...], mounts: tuple[Any, ...] = (ROOT,)) -> GuestSpec:
    return GuestSpec("LINUX", 16 << 20, ("LIB",), mounts, steps)


@pytest.fixture
def cp(control_program: BlockingCp, tmp_path: Path) -> BlockingCp:
    tree = tmp_path / "tree"
    for name in ("dev", "proc", "sys", "tmp", "lib"):
        (tree / name).mkdir(parents=True)
    (tree / "lib/a.so").write_bytes(b"a" * 5000)
    (tree / "lib/large").write_bytes(bytes(range(251)) * (LARGE_BYTES // 251 + 1))
    build(tree, tmp_path / "image")
    control_program.publish(definition("LIB", "20000-203FF SR"), fill_with((tmp_path / "image").read_bytes()))
    return control_program


@contextmanager
def port(cp: BlockingCp) -> Iterator[socket.socket]:
    place = reservation()
    answering = Answering(cp, "LINUX", 16 << 20, place.window)
    try:
        yield answering.port
    finally:
        answering.close()
        hostmem.unmap(place.window, place.window_bytes)
        hostmem.unmap(place.user_area, place.user_area_bytes)


def run(cp: BlockingCp, guest: GuestSpec, *requests: bytes) -> tuple[int, list[bytes]]:
    """Run a guest whose host has asked for all this already; return its exit status, and what it sent but ACCESS."""
    host, console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with host, console, port(cp) as hypercalls:
        console.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for request in requests:
            host.send(request)
        host.shutdown(socket.SHUT_WR)
        status = run_guest(guest, GuestHost(reservation(), hypercalls, console))
        console.close()
        return status, [packet for packet in received(host) if packet[:1] != ACCESS]


def received(host: socket.socket) -> Iterator[bytes]:
    """Yield what a guest sent; where it ended with a request unread, an error comes first."""
    while True:
        try:
            packet = host.recv(PACKET_BYTES)
        except ConnectionResetError:
            continue
        if not packet:
            return
        yield packet


def verdict(packet: bytes) -> Verdict:
    assert packet[:1] == VERDICT
    return Verdict.unpack(packet[1:])


def status_of(packet: bytes) -> int:
    assert packet[:1] == STATUS
    return int(EXIT_STATUS.unpack(packet[1:])[0])


def test_a_specification_survives_its_packet() -> None:
    whole = GuestSpec("G", 5, ("A", "B"), (ROOT, ("x", "/x", (), "mtd")), (("exec", "ls", "a b"),), (("d", True),))
    assert GuestSpec.unpack(whole.pack()) == whole


def test_a_guest_runs_its_steps_and_reports_what_it_counts(cp: BlockingCp) -> None:
    status, packets = run(cp, spec(("read", "/lib/*.so"), ("exec", "ls", "/lib")))
    assert (status, len(packets)) == (0, 1)
    found = verdict(packets[0])
    assert (found.exit_status, found.message) == (0, "")
    assert 0 < found.seconds < 60
    assert found.page_cache_bytes == 8192  # without xip a file that is read is copied


def test_requests_are_answered_one_after_the_other(cp: BlockingCp) -> None:
    requests = [pack_exec([b"cat", b"/lib/a.so"]), COUNTERS_REQUEST, pack_exec([b"ls", b"/no"]), b"unknown"]
    status, packets = run(cp, spec(), *requests)
    assert status == 0
    (ready, output, done, counters, error, failed) = packets
    assert verdict(ready).page_cache_bytes == 0
    assert output == STDOUT + b"a" * 5000
    assert status_of(done) == 0
    assert counters[:1] == COUNTERS
    assert Counters.unpack(counters[1:]).page_cache_bytes == 8192
    assert error[:1] == STDERR
    assert b"'/no': No such file or directory" in error
    assert status_of(failed) != 0


def test_long_output_is_sent_in_packets_of_whole_pages(cp: BlockingCp) -> None:
    _, (_, *output, done) = run(cp, spec(), pack_exec([b"cat", b"/lib/large"]))
    assert {packet[:1] for packet in output} == {STDOUT}
    lengths = [len(packet) - 1 for packet in output]
    assert max(lengths) <= OUTPUT_BYTES
    assert b"".join(packet[1:] for packet in output) == (bytes(range(251)) * (LARGE_BYTES // 251 + 1))
    assert status_of(done) == 0


def test_a_command_is_cancelled_and_the_next_one_is_not(cp: BlockingCp) -> None:
    listing = pack_exec([b"sh", b"-c", b"echo one; echo two"])
    _, (_, cancelled, *rest) = run(cp, spec(), listing, CANCEL_REQUEST, pack_exec([b"echo", b"three"]))
    assert status_of(cancelled) == 130
    assert rest[0] == STDOUT + b"three\n"
    assert status_of(rest[1]) == 0


def test_a_step_that_fails_is_named_and_ends_the_guest(cp: BlockingCp, capfd: pytest.CaptureFixture[str]) -> None:
    status, packets = run(cp, spec(("exec", "echo", "a  b"), ("map", "/no/*")), pack_exec([b"ls"]))
    message = "LINUX: run[1]: /no/*: matches no regular file in this guest"
    found = verdict(packets[0])
    assert (status, found.exit_status, found.message, len(packets)) == (FAILED, FAILED, message, 1)
    assert found.seconds > 0
    out, err = capfd.readouterr()
    assert out.endswith("a  b\n")
    assert err == f"{message}\n"


def test_a_command_of_a_step_that_fails_is_named_with_its_status(cp: BlockingCp) -> None:
    _, packets = run(cp, spec(("exec", "ls", "/a b")))
    assert verdict(packets[0]).message.startswith("LINUX: run[0]: exec ls '/a b': exit status ")


def test_a_mount_that_fails_is_no_steps_fault(cp: BlockingCp) -> None:
    status, packets = run(cp, spec(("exec", "ls"), mounts=(("dcssblk7", "/", ("ro",), ""),)))
    assert status == FAILED
    assert "run[" not in verdict(packets[0]).message
    assert "dcssblk7" in verdict(packets[0]).message


def test_a_fault_of_the_kernel_is_a_crash_with_its_traceback_in_the_log(
    cp: BlockingCp, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise ValueError("no such thing")

    monkeypatch.setitem(workload.STEPS, "map", fail)
    status, packets = run(cp, spec(("map", "/lib/*")))
    assert (status, verdict(packets[0]).exit_status) == (CRASHED, CRASHED)
    assert verdict(packets[0]).message == "LINUX: kernel crashed: ValueError('no such thing')"
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.endswith("LINUX: kernel crashed: ValueError('no such thing')\n")


def test_a_pattern_is_compiled_ahead_name_by_name() -> None:
    compiled.cache_clear()
    prepare("/usr/**/lib?/*.so//")
    assert compiled.cache_info().currsize == 3
    for name in (b"usr", b"lib?", b"*.so"):
        compiled(name)
    assert compiled.cache_info().misses == 3


@pytest.mark.parametrize("kind", [MemoryAccessError, SegmentationFaultError, BusError])
def test_memory_errors_survive_pickling(kind: Callable[[str], MemoryAccessError]) -> None:
    error = pickle.loads(pickle.dumps(kind("read at 0x1000")))
    assert type(error) is kind
    assert error.strerror == "read at 0x1000"

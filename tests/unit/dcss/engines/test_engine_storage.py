"""A guest's storage read from another process: what is mapped comes over, the rest stays zeros, an end is an error."""

import errno
import mmap
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcss.account import maps
from dcss.account.maps import Vma
from dcss.engines import storage as storage_module
from dcss.engines.storage import dump_storage
from vmguest import hostmem

WINDOW_BYTES = 64 << 20
MEBIBYTE = 1 << 20


@dataclass
class Process:
    """A guest's process."""

    window: int
    pid: int | None
    pidfd: int | None
    exit_status: int | None = None
    name: str = "A"


@contextmanager
def guest_with(prepare: Callable[[int], None]) -> Iterator[Process]:
    """A process with a reserved window in which `prepare(window)` has mapped something."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    window = hostmem._map(None, WINDOW_BYTES, hostmem.PROT_NONE, flags)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        prepare(window)
        theirs.send(b"!")
        signal.pause()
    assert ours.recv(1) == b"!"
    pidfd = os.pidfd_open(pid)
    try:
        yield Process(window, pid, pidfd)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)
        ours.close()
        theirs.close()
        hostmem.unmap(window, WINDOW_BYTES)


def dumped(guest: Process, address: int, size_bytes: int) -> bytes:
    descriptor = os.memfd_create("dump")
    try:
        os.truncate(descriptor, size_bytes)
        dump_storage(guest, descriptor, address, size_bytes)
        return os.pread(descriptor, size_bytes, 0)
    finally:
        os.close(descriptor)


def put(address: int, content: bytes) -> None:
    hostmem.view(address, len(content))[:] = content


def test_private_and_shared_pages_come_over_and_gaps_are_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "CHUNK_BYTES", 3 * 4096)  # several reads for each mapping, the last one short
    shared = os.memfd_create("segment")
    os.write(shared, b"segment!" * (MEBIBYTE // 8))

    def prepare(window: int) -> None:
        hostmem.map_storage(window, MEBIBYTE)
        put(window, b"bottom")
        put(window + MEBIBYTE - 6, b"border")
        hostmem.map_object(window + 2 * MEBIBYTE, MEBIBYTE, shared, 0, writable=True, private=True, populate=False)
        put(window + 2 * MEBIBYTE + 4096, b"its own")

    with guest_with(prepare) as guest:
        whole = dumped(guest, 0, 4 * MEBIBYTE)
        assert whole[:6] == b"bottom"
        assert whole[MEBIBYTE - 6 : MEBIBYTE + 10] == b"border" + bytes(10)
        assert whole[2 * MEBIBYTE :][:4096] == b"segment!" * 512
        assert whole[2 * MEBIBYTE + 4096 :][:15] == b"its own!segment"
        assert whole[3 * MEBIBYTE :] == bytes(MEBIBYTE)
        assert dumped(guest, 2 * MEBIBYTE + 4096, 8192) == whole[2 * MEBIBYTE + 4096 :][:8192]
    assert os.pread(shared, 8, 4096) == b"segment!"
    os.close(shared)


def test_a_gap_writes_nothing() -> None:
    with guest_with(lambda _: None) as guest:
        descriptor = os.memfd_create("dump")
        os.truncate(descriptor, 8 * MEBIBYTE)
        dump_storage(guest, descriptor, 0, 8 * MEBIBYTE)
        assert os.fstat(descriptor).st_blocks == 0
        os.close(descriptor)


def kill(guest: Process) -> None:
    assert guest.pid is not None
    os.kill(guest.pid, signal.SIGKILL)
    os.waitid(os.P_PID, guest.pid, os.WEXITED | os.WNOWAIT)


def test_a_guest_that_ended_is_an_error_not_zeros() -> None:
    with guest_with(lambda window: hostmem.map_storage(window, MEBIBYTE)) as guest:
        kill(guest)
        with pytest.raises(OSError, match="guest A ended while its storage was read") as caught:
            dumped(guest, 0, MEBIBYTE)
    assert caught.value.errno == errno.ESRCH  # for every user


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("seen", [0, 1])
def test_so_is_one_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch, seen: int, ended: bool) -> None:
    """Its ranges are cut short then, which must not be taken for storage that it never used."""
    alive = os.pidfd_open(os.getpid())
    with guest_with(lambda window: hostmem.map_storage(window, MEBIBYTE)) as guest:

        def parse_maps(text: bytes) -> list[Vma]:
            kill(guest)
            return maps.parse_maps(text)[:seen]

        monkeypatch.setattr(storage_module, "parse_maps", parse_maps)
        if not ended:  # its memory goes an instant before its process counts as ended
            guest.pidfd = alive
        with pytest.raises(OSError, match="guest A ended while its storage was read"):
            dumped(guest, 0, MEBIBYTE)


def test_so_is_one_whose_end_cp_took_note_of_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another process's by then, and that of its pidfd another descriptor's."""
    with guest_with(lambda window: hostmem.map_storage(window, MEBIBYTE)) as guest:

        def parse_maps(text: bytes) -> list[Vma]:
            guest.exit_status = -9
            return maps.parse_maps(text)

        monkeypatch.setattr(storage_module, "parse_maps", parse_maps)
        with pytest.raises(OSError, match="guest A ended while its storage was read"):
            dumped(guest, 0, MEBIBYTE)


def test_a_guest_without_a_process_has_no_storage() -> None:
    with guest_with(lambda _: None) as guest:
        pid, guest.pid = guest.pid, None
        with pytest.raises(OSError, match="guest A has no process to read its storage from"):
            dumped(guest, 0, MEBIBYTE)
        guest.pid = pid


def test_memory_that_cannot_be_read_is_an_error() -> None:
    """A mapping beyond its object's end: SIGBUS for the guest, EIO here."""
    short = os.memfd_create("short")
    os.write(short, bytes(4096))

    def prepare(window: int) -> None:
        hostmem.map_object(window, 8192, short, 0, writable=False, private=False, populate=False)

    with guest_with(prepare) as guest, pytest.raises(OSError, match=r"Input/output error|its memory ends at"):
        dumped(guest, 0, 8192)
    os.close(short)


def test_memory_that_ends_before_all_is_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(b"x" * 100)
    with (tmp_path / "memory").open("rb") as memory, (tmp_path / "dump").open("wb") as dump:
        with pytest.raises(OSError, match="its memory ends at 0x64, wanted 29 bytes") as caught:
            storage_module._copy(memory.fileno(), 1, dump.fileno(), 5, 128)
        assert caught.value.errno == errno.EIO
    assert (tmp_path / "dump").read_bytes() == bytes(5) + b"x" * 99

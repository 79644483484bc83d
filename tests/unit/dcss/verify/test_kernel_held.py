"""What the kernel holds where nobody can look: in pipes, sockets and message queues, from a page on."""

import array
import fcntl
import os
import socket
from pathlib import Path

import pytest

from dcss.account.proc import ProcessGoneError
from dcss.host.file_questions import FileQuestions
from dcss.verify import kernel_held as module
from dcss.verify.backing import Backings
from dcss.verify.descriptors import FileDescriptor, descriptor_numbers, duplicate_number, open_files
from dcss.verify.kernel_held import kernel_held

PID = os.getpid()


def held(*numbers: int) -> list[str]:
    return list(kernel_held(PID, numbers))


@pytest.mark.parametrize(("queued_bytes", "told"), [(0, False), (4095, False), (4096, True), (10_000, True)])
def test_a_pipe_with_a_page_or_more(queued_bytes: int, told: bool) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x" * queued_bytes)
        line = f"descriptor {{}} of process {PID}: this pipe holds {queued_bytes:,} bytes, which nobody can look at"
        assert held(reading, writing) == ([line.format(reading), line.format(writing)] if told else [])
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(("queued_bytes", "told"), [(4095, False), (4096, True)])
def test_a_socket_with_a_page_or_more(queued_bytes: int, told: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x" * queued_bytes)
        line = f"this socket holds {queued_bytes:,} bytes, which nobody can look at"
        number = theirs.fileno()
        assert held(ours.fileno(), number) == ([f"descriptor {number} of process {PID}: {line}"] if told else [])


@pytest.mark.parametrize(("count", "words"), [(1, "1 descriptor"), (2, "2 descriptors")])
def test_messages_that_carry_descriptors(count: int, words: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        descriptors = array.array("i", [0] * count)
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        if b"scm_fds" not in Path(f"/proc/self/fdinfo/{theirs.fileno()}").read_bytes():
            pytest.skip("this kernel does not show descriptors in messages (Linux 5.5)")
        (line,) = held(theirs.fileno())
        assert f"messages on their way to this socket hold {words}, which nobody" in line


def test_what_holds_nothing_of_the_kind() -> None:
    with socket.socket() as listening, Path(__file__).open() as file:
        listening.listen()
        assert held(listening.fileno(), file.fileno(), 999_999) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (b"UserFiles:\t2\nUserBufs:\t0\n", "an io_uring holds 2 files and 0 buffers"),
        (b"UserFiles:\t0\nUserBufs:\t1\n", "an io_uring holds 0 files and 1 buffer"),
        (b"UserFiles:\t0\nUserBufs:\t0\n", None),
        (b"pos:\t0\n", None),
    ],
)
def test_files_and_buffers_of_a_ring(fields: bytes, told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RING", str(Path("/proc/self/fd/0").readlink()))
    monkeypatch.setattr(module, "read_proc", lambda pid, book: {(PID, "fdinfo/0"): fields}[pid, book])
    line = f"descriptor 0 of process {PID}: {told}, which nobody can look at"
    assert held(0) == ([] if told is None else [line])


def test_a_process_that_is_gone_meanwhile_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(pid: int, book: str) -> bytes:
        raise ProcessGoneError(pid, book)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x" * 5000)
        monkeypatch.setattr(module, "read_proc", gone)
        assert held(theirs.fileno()) == []


def opened(*numbers: int) -> tuple[list[FileDescriptor], list[str]]:
    with FileQuestions() as questions:
        return open_files(PID, numbers, Backings(questions))


def test_files_are_told_from_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo")
    memory = os.memfd_create("x")
    file, directory, fifo = (os.open(each, os.O_RDONLY | os.O_NONBLOCK) for each in (path, tmp_path, tmp_path / "fifo"))
    try:
        found, reasons = opened(file, directory, fifo, memory, 999_999)
        assert reasons == []
        assert [(each.pid, each.number, each.object) for each in found] == [
            (PID, number, (os.fstat(number).st_dev, os.fstat(number).st_ino)) for number in (file, memory)
        ]
        assert [each.target for each in found] == [str(path), "/memfd:x (deleted)"]
        assert [each.path for each in found] == [f"/proc/{PID}/fd/{number}" for number in (file, memory)]
        assert {file, directory, fifo, memory} <= set(descriptor_numbers(PID))
    finally:
        for number in (file, directory, fifo, memory):
            os.close(number)


@pytest.mark.parametrize(
    ("flags", "writable"),
    [(os.O_RDONLY, False), (os.O_WRONLY, True), (os.O_RDWR, True), (os.O_PATH, False), (os.O_RDWR | os.O_APPEND, True)],
)
def test_how_a_file_was_opened(flags: int, writable: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    number = os.open(path, flags)
    try:
        assert FileDescriptor(PID, number, 1, 2).writable is writable
    finally:
        os.close(number)


@pytest.mark.parametrize(("size_bytes", "told"), [(0, False), (4095, False), (4096, True)])
def test_a_message_queue_with_a_page_or_more(
    size_bytes: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor reads as a line about it."""
    path = tmp_path / "queue"
    path.write_text(f"QSIZE:{size_bytes:<10} NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n")
    monkeypatch.setattr(Backings, "is_message_queue", lambda *_: True)
    number = os.open(path, os.O_RDONLY)
    try:
        line = f"this message queue holds {size_bytes:,} bytes, which nobody can look at"
        assert opened(number) == ([], [f"descriptor {number} of process {PID}: {line}"] if told else [])
    finally:
        os.close(number)


def test_a_duplicate_is_the_same_open_file() -> None:
    reading, writing = os.pipe()
    try:
        number = duplicate_number(PID, reading)
        assert os.fstat(number) == os.fstat(reading)
        assert fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(number)
        with pytest.raises(OSError, match=f"pidfd_getfd of descriptor 999999 of process {PID}: Bad file descriptor"):
            duplicate_number(PID, 999_999)
        with pytest.raises(ProcessLookupError):
            duplicate_number(1 << 22, 0)
    finally:
        os.close(reading)
        os.close(writing)

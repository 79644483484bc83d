"""Which mappings the kernel counts as shared memory."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcss.account.maps import Vma, read_maps
from dcss.account.proc import read_proc
from dcss.host.file_questions import FileQuestions, FileStatus
from dcss.verify.backing import Backings, Mount, mount_and_inode

SYS_IO_SETUP = {"x86_64": 206, "aarch64": 0, "s390x": 243}


def mappings(path: bytes) -> list[Vma]:
    return [vma for vma in read_maps(os.getpid()) if vma.path.startswith(path)]


@pytest.fixture
def backings() -> Iterator[Backings]:
    with FileQuestions() as questions:
        yield Backings(questions)


def test_a_memfd_is_shared_memory(backings: Backings) -> None:
    descriptor = os.memfd_create("counted")
    try:
        os.ftruncate(descriptor, 4096)
        with mmap.mmap(descriptor, 4096):
            (found,) = mappings(b"/memfd:counted")
            assert backings.is_shmem(os.getpid(), found)
    finally:
        os.close(descriptor)


def test_an_aio_ring_is_memory_but_not_shared_memory(backings: Backings) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    context = ctypes.c_ulong()
    if libc.syscall(SYS_IO_SETUP.get(os.uname().machine, -1), 8, ctypes.byref(context)) != 0:
        pytest.skip("this kernel has no io_setup")
    found = mappings(b"/[aio]")[0]
    assert backings.of_mapping(os.getpid(), found)
    assert not backings.is_shmem(os.getpid(), found)


def test_a_mount_is_known_by_its_number(backings: Backings, tmp_path: Path) -> None:
    for directory in (Path("/dev/shm"), tmp_path):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            number, _ = mount_and_inode(read_proc(os.getpid(), f"fdinfo/{descriptor}"))
        finally:
            os.close(descriptor)
        found = backings.mount(os.getpid(), number)
        assert found is not None
        assert found.answers
        assert backings.mount(os.getpid(), number) is found
    assert backings.mount(os.getpid(), 1 << 30) is None
    memory = os.memfd_create("shown by no mount table")
    try:
        number, inode = mount_and_inode(read_proc(os.getpid(), f"fdinfo/{memory}"))
        assert backings.mount(os.getpid(), number) == Mount(os.fstat(memory).st_dev, True)
        assert inode in {None, os.fstat(memory).st_ino}
    finally:
        os.close(memory)


def status(file_system: int, device: int) -> FileStatus:
    return FileStatus(0o100600, device, 1, file_system)


def test_message_queues_are_known_by_file_system_or_device(backings: Backings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backings.is_message_queue(status(0x19800202, 77))
    assert not backings.is_message_queue(status(0x01021994, 77))
    read = {"mountinfo": b"30 20 0:77 / /dev/mqueue rw - mqueue mqueue rw\n31 20 0:78 / /tmp rw - tmpfs none rw\n"}
    monkeypatch.setattr("dcss.verify.backing.read_proc", lambda _, book: read[book])
    assert backings.mount(1, 30) == Mount(77, True)
    assert backings.is_message_queue(status(0, 77))
    assert not backings.is_message_queue(status(0, 78))


@pytest.mark.parametrize(
    ("kind", "memory", "answers"),
    [
        ("tmpfs", True, True),
        ("devtmpfs", True, True),
        ("ramfs", True, True),
        ("hugetlbfs", True, True),
        ("ext4", False, True),
        ("fuse.sshfs", False, False),
        ("nfs4", False, False),
    ],
)
def test_what_a_mounted_file_system_is(
    backings: Backings, monkeypatch: pytest.MonkeyPatch, kind: str, memory: bool, answers: bool
) -> None:
    """A server's file is never memory."""
    device = os.makedev(700, 3)
    lines = f"20 1 8:1 / / rw - ext4 /dev/root rw\n30 20 700:3 / /x rw shared:1 - {kind} none rw\n"
    monkeypatch.setattr("dcss.verify.backing.read_proc", lambda *_: lines.encode())
    assert backings.mount(1, 30) == Mount(device, answers)
    vma = Vma(0x1000, 0x2000, "r--p", 0, device, 5, b"/x/f")
    shmem = kind in {"tmpfs", "devtmpfs"}
    assert backings.of_mapping(1, vma) is memory
    assert backings.is_shmem(1, vma) is shmem
    assert backings.of_file(1, device, 5, "/proc/1/fd/9") is memory
    assert backings.answers(device) is shmem

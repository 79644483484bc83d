"""Which mappings the kernel counts as shared memory."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcss.account.maps import Vma, read_maps
from dcss.account.proc import read_proc
from dcss.host.file_questions import FileQuestions
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

"""Which mappings the kernel counts as shared memory."""

import ctypes
import mmap
import os
from collections.abc import Iterator

import pytest

from dcss.account.maps import Vma, read_maps
from dcss.host.file_questions import FileQuestions
from dcss.verify.backing import Backings

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

"""Reading the memory of a process: what it cannot read itself, and a process that ends meanwhile."""

import ctypes
import mmap
import os
import signal

import numpy as np
import pytest

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.proc import ProcessGoneError
from dcss.verify.search.process_memory import ProcessMemory


def test_a_process_that_ends_while_its_memory_is_open_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    with ProcessMemory(pid) as memory:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with pytest.raises(ProcessGoneError, match=f"process {pid} ended while /proc/{pid}/mem was read"):
            memory.read(0x10000, np.zeros(PAGE_SIZE, np.uint8))


def test_memory_is_read_up_to_the_first_page_that_cannot_be() -> None:
    with mmap.mmap(-1, 2 * PAGE_SIZE) as mapped:
        mapped[:] = b"x" * PAGE_SIZE + b"y" * PAGE_SIZE
        first = ctypes.addressof(ctypes.c_char.from_buffer(mapped)) >> PAGE_SHIFT
        libc = ctypes.CDLL(None)
        libc.munmap(ctypes.c_void_p((first + 1) << PAGE_SHIFT), ctypes.c_size_t(PAGE_SIZE))
        read = np.zeros(2 * PAGE_SIZE, np.uint8)
        with ProcessMemory(os.getpid()) as memory:
            done = [memory.read(first, read), memory.read(first + 1, read[PAGE_SIZE:])]
    assert done == [PAGE_SIZE, 0]
    assert bytes(read) == b"x" * PAGE_SIZE + bytes(PAGE_SIZE)

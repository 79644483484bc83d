"""An object's bytes by page of the object: holes are left out, and what is behind its end reads as zeros."""

import os

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.verify.search.shared_objects import ObjectMemory


def test_pages_with_data_are_read_where_they_lie() -> None:
    descriptor = os.memfd_create("object")
    for page in (0, 3, 4, 9):
        os.pwrite(descriptor, bytes([page + 1]) * PAGE_SIZE, page * PAGE_SIZE)
    os.pwrite(descriptor, b"end", 12 * PAGE_SIZE)
    with ObjectMemory(descriptor) as memory:
        assert memory.pages().tolist() == [0, 3, 4, 9, 12]
        for page, pages, content in (
            (0, 1, [1]),
            (3, 2, [4, 5]),
            (4, 6, [5, 0, 0, 0, 0, 10]),
        ):
            buffer = np.full(pages * PAGE_SIZE, 77, np.uint8)
            assert memory.read(page, buffer) == len(buffer)
            assert buffer.reshape(pages, PAGE_SIZE)[:, [0, -1]].tolist() == [[each, each] for each in content]
        buffer = np.full(2 * PAGE_SIZE, 77, np.uint8)
        assert memory.read(12, buffer) == len(buffer)
        assert buffer.tobytes() == b"end".ljust(2 * PAGE_SIZE, b"\0")


def test_an_object_without_data_has_no_pages() -> None:
    descriptor = os.memfd_create("object")
    os.ftruncate(descriptor, 1 << 20)
    with ObjectMemory(descriptor) as memory:
        assert memory.pages().tolist() == []

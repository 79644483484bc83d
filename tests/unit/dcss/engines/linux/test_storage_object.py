"""The storage object: segments at their addresses, in one copy for all machines."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cp_support import unique_system

from dcss.engines.linux.storage_object import StorageObject

MIB = 1 << 20


@pytest.fixture
def storage() -> Iterator[StorageObject]:
    made = StorageObject(unique_system("storage"), 64 * MIB)
    yield made
    made.close()


def content(byte: bytes, size_bytes: int = MIB) -> int:
    """Return shared memory as a segment's object is."""
    descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
    os.pwrite(descriptor, byte * size_bytes, 0)
    return descriptor


def test_it_is_sparse_private_and_goes_with_its_end(storage: StorageObject) -> None:
    path = Path(storage.path)
    status = path.stat()
    assert (status.st_size, status.st_blocks, status.st_mode & 0o777) == (64 * MIB, 0, 0o600)
    assert storage.object == (status.st_dev, status.st_ino)
    storage.grow(96 * MIB)
    storage.grow(32 * MIB)
    assert path.stat().st_size == 96 * MIB
    storage.close()
    storage.close()
    assert not path.exists()


def test_a_segment_lies_at_its_address_once(storage: StorageObject) -> None:
    one = content(b"1")
    assert storage.place(one, 16 * MIB, MIB)
    assert storage.place(one, 16 * MIB, MIB), "the same version again"
    with Path(storage.path).open("rb") as file:
        file.seek(16 * MIB - 1)
        assert file.read(MIB + 2) == b"\0" + b"1" * MIB + b"\0"
    assert Path(storage.path).stat().st_blocks * 512 == MIB
    os.close(one)


@pytest.mark.parametrize(
    ("start", "fits"), [(16 * MIB, False), (17 * MIB - 4096, False), (17 * MIB, True), (15 * MIB, True)]
)
def test_another_version_is_not_put_over_it(storage: StorageObject, start: int, fits: bool) -> None:
    one, two = content(b"1"), content(b"2")
    assert storage.place(one, 16 * MIB, MIB)
    assert storage.place(two, start, MIB) is fits
    with Path(storage.path).open("rb") as file:
        file.seek(16 * MIB)
        assert file.read(MIB) == b"1" * MIB
    os.close(one)
    os.close(two)


def test_what_machines_left_in_it_by_reading_goes(storage: StorageObject) -> None:
    one = content(b"1")
    assert storage.place(one, 16 * MIB, MIB)
    with Path(storage.path).open("r+b") as file:
        file.write(bytes(4 * MIB))
    storage.trim(16 * MIB)
    assert Path(storage.path).stat().st_blocks * 512 == MIB
    os.close(one)

"""What servers ask for before they serve: signals for files, another root that is the same, data on its device."""

import struct
from errno import EINVAL, ENOTTY, ESPIPE

import pytest
from calls390_support import Caller
from guest390_support import Guest390

FIOASYNC = 0x5452
O_CREAT, O_RDWR = 0o100, 2
SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE = 1, 2


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def test_a_socket_may_be_asked_to_signal_and_a_file_may_not(caller: Caller) -> None:
    numbers = caller.put(8)
    assert caller.call("socketpair", 1, 1, 0, numbers) == 0
    (number, _) = struct.unpack(">ii", caller.get(numbers, 8))
    assert caller.call("ioctl", number, FIOASYNC, struct.pack(">i", 1)) == 0
    assert caller.call("ioctl", caller.open(b"/bin/hello", 0), FIOASYNC, struct.pack(">i", 1)) == -ENOTTY


def test_a_part_of_a_file_is_written_to_its_device(caller: Caller) -> None:
    number = caller.open(b"/tmp/file", O_CREAT | O_RDWR)
    assert caller.call("sync_file_range", number, 0, 4096, SYNC_FILE_RANGE_WRITE) == 0
    assert caller.call("sync_file_range", number, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE) == 0
    assert caller.call("sync_file_range", number, -1, 4096, 0) == -EINVAL
    assert caller.call("sync_file_range", number, 0, 4096, 8) == -EINVAL
    assert caller.call("sync_file_range", 0, 0, 4096, 0) == -ESPIPE

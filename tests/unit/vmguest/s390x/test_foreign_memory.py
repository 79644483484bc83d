"""A process reads and writes another one's memory (process_vm_readv, process_vm_writev, /proc/PID/mem)."""

import struct
from errno import EACCES, EFAULT, EINVAL, EIO, EPERM, ESRCH

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.mm_area import PROT_READ, PROT_WRITE
from vmguest.s390x.process import Process

AT = 0x6000_0000


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


@pytest.fixture
def other(guest: Guest390) -> Process:
    process = guest.start(b"/bin/pause")
    process.space.map(None, 0, 2, PROT_READ | PROT_WRITE, address=AT)
    process.space.write(AT, b"theirs, and more")
    return process


def vector(*parts: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">QQ", *part) for part in parts)


def test_it_reads_and_writes_in_pieces_of_both_sides(caller: Caller, other: Process) -> None:
    first, second = caller.put(4), caller.put(6)
    mine, theirs = vector((first, 4), (second, 6)), vector((AT, 7), (AT + 12, 4))
    assert caller.call("process_vm_readv", other.pid, mine, 2, theirs, 2, 0) == 10
    assert (caller.get(first, 4), caller.get(second, 6)) == (b"thei", b"rs,mor")
    assert caller.call("process_vm_writev", other.pid, mine, 2, vector((AT + 4094, 8)), 1, 0) == 8
    assert other.space.read(AT + 4094, 10) == b"theirs,m\0\0"


def test_it_ends_where_one_of_them_has_no_memory(caller: Caller, other: Process) -> None:
    mine = vector((caller.put(8192), 8192))
    assert caller.call("process_vm_readv", other.pid, mine, 1, vector((AT + 4096, 4096), (AT + 8192, 1)), 2, 0) == 4096
    assert caller.call("process_vm_readv", other.pid, mine, 1, vector((AT + 8192, 1)), 1, 0) == -EFAULT
    assert caller.call("process_vm_readv", other.pid, mine, 1, vector(), 0, 0) == 0


def test_what_is_refused(caller: Caller, other: Process) -> None:
    mine = vector((caller.put(16), 16))
    assert caller.call("process_vm_readv", 9999, mine, 1, mine, 1, 0) == -ESRCH
    assert caller.call("process_vm_readv", other.pid, mine, 1, mine, 1, 1) == -EINVAL
    assert caller.call("process_vm_readv", other.pid, mine, 2000, mine, 1, 0) == -EINVAL
    caller.process.credentials = caller.process.credentials._replace(uid=7)
    assert caller.call("process_vm_readv", other.pid, mine, 1, vector((AT, 4)), 1, 0) == -EPERM


def test_the_file_of_its_memory_is_read_by_addresses(caller: Caller, other: Process) -> None:
    number, buffer = caller.open(b"/proc/%d/mem" % other.pid, 0), caller.put(9000)
    assert caller.call("pread64", number, buffer, 6, AT) == 6
    assert caller.get(buffer, 6) == b"theirs"
    assert caller.call("pread64", number, buffer, 9000, AT + 10) == 8182  # two pages are there
    assert caller.call("pread64", number, buffer, 1, AT + 8192) == -EIO
    assert caller.call("lseek", number, AT + 8, 0) == AT + 8
    assert caller.call("read", number, buffer, 8) == 8
    assert caller.get(buffer, 8) == b"and more"
    caller.guest.programs.end(other)
    assert caller.call("pread64", number, buffer, 1, AT) == -EIO


def test_another_users_memory_is_not_read(caller: Caller, other: Process) -> None:
    caller.process.credentials = caller.process.credentials._replace(uid=7, gid=7)
    assert caller.call("openat", 0, b"/proc/%d/mem\0" % other.pid, 0, 0) == -EACCES

"""Open files and credentials beside what is sent: how little room there may be for them, and who closes them."""

from errno import EBADF, EINVAL, EMFILE, EPERM
from struct import pack, unpack_from

import pytest
from calls390_support import Caller
from guest390_support import Guest390

from vmguest.credentials import Credentials
from vmguest.fs.open import O_CREAT, O_RDWR

AF_UNIX, SOCK_STREAM, SOCK_DGRAM = 1, 1, 2
SOL_SOCKET, SO_PASSCRED, SCM_RIGHTS, SCM_CREDENTIALS = 1, 16, 1, 2
MSG_CTRUNC = 8
HEAD_BYTES = 16


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def pair(caller: Caller, kind: int = SOCK_STREAM) -> tuple[int, int]:
    numbers = caller.put(8)
    assert caller.call("socketpair", AF_UNIX, kind, 0, numbers) == 0
    one, other = unpack_from(">ii", caller.get(numbers, 8))
    return one, other


def beside(kind: int, content: bytes) -> bytes:
    """Return one part of ancillary data."""
    return pack(">Qii", HEAD_BYTES + len(content), SOL_SOCKET, kind) + content + bytes(-len(content) % 8)


def send(caller: Caller, number: int, ancillary: bytes, text: bytes = b"text") -> int | None:
    part = caller.put(pack(">QQ", caller.put(text), len(text)))
    control = caller.put(ancillary)
    return caller.call("sendmsg", number, pack(">Qi4xQQQQi4x", 0, 0, part, 1, control, len(ancillary), 0), 0)


def receive(caller: Caller, number: int, room_bytes: int) -> tuple[int | None, bytes, int]:
    """Return how much text came, the ancillary data, and the flags of the message."""
    part = caller.put(pack(">QQ", caller.put(100), 100))
    control = caller.put(b"\xee" * 200)
    message = caller.put(pack(">Qi4xQQQQi4x", 0, 0, part, 1, control, room_bytes, 0))
    result = caller.call("recvmsg", number, message, 0)
    *_, size_bytes, flags = unpack_from(">Qi4xQQQQi", caller.get(message, 56))
    return result, caller.get(control, size_bytes), flags


@pytest.mark.parametrize(
    ("room_bytes", "wanted", "flags"),
    [
        (0, 0, MSG_CTRUNC),
        (15, 0, MSG_CTRUNC),
        (16, 0, MSG_CTRUNC),
        (19, 0, MSG_CTRUNC),
        (20, 1, MSG_CTRUNC),
        (24, 2, MSG_CTRUNC),
        (28, 3, 0),
        (100, 3, 0),
    ],
)
def test_files_without_room_are_closed(caller: Caller, room_bytes: int, wanted: int, flags: int) -> None:
    one, other = pair(caller)
    file = caller.open(b"/tmp/passed", O_CREAT | O_RDWR)
    opened, before = caller.process.files.get(file), len(list(caller.process.files))
    assert send(caller, one, beside(SCM_RIGHTS, pack(">iii", file, file, file))) == 4
    assert opened._holders == 4
    result, ancillary, found = receive(caller, other, room_bytes)
    assert (result, found) == (4, flags)
    assert len(list(caller.process.files)) - before == wanted == opened._holders - 1
    if wanted:
        assert ancillary[:HEAD_BYTES] == pack(">Qii", HEAD_BYTES + 4 * wanted, SOL_SOCKET, SCM_RIGHTS)


@pytest.mark.parametrize("end", ["read", "close", "exit"])
def test_files_that_nobody_receives_are_closed(caller: Caller, end: str) -> None:
    one, other = pair(caller)
    file = caller.open(b"/tmp/passed", O_CREAT | O_RDWR)
    opened = caller.process.files.get(file)
    assert send(caller, one, beside(SCM_RIGHTS, pack(">i", file))) == 4
    assert caller.call("close", file) == 0
    assert not opened.is_closed
    if end == "read":
        assert caller.call("read", other, caller.put(8), 8) == 4
    elif end == "close":
        assert caller.call("close", other) == 0
    else:
        caller.guest.programs.end(caller.process)
    assert opened.is_closed


def test_no_more_files_come_than_the_process_may_open(caller: Caller) -> None:
    one, other = pair(caller)
    assert send(caller, one, beside(SCM_RIGHTS, pack(">ii", one, one))) == 4
    caller.process.files.limit = 6
    result, ancillary, flags = receive(caller, other, 100)
    assert (result, flags, len(ancillary)) == (4, MSG_CTRUNC, 24)
    assert caller.call("dup", one) == -EMFILE


@pytest.mark.parametrize(
    ("ancillary", "errno"),
    [
        (beside(SCM_RIGHTS, pack(">i", 77)), EBADF),
        (beside(SCM_RIGHTS, pack(">i", -1)), EBADF),
        (beside(SCM_RIGHTS, pack(">254i", *[0] * 254)), EINVAL),
        (beside(99, b""), EINVAL),
        (beside(SCM_CREDENTIALS, bytes(8)), EINVAL),
        (pack(">Qii", 15, SOL_SOCKET, SCM_RIGHTS), EINVAL),
        (pack(">Qii", 100, SOL_SOCKET, SCM_RIGHTS), EINVAL),
    ],
)
def test_what_is_no_ancillary_data_is_refused(caller: Caller, ancillary: bytes, errno: int) -> None:
    one, _ = pair(caller)
    assert send(caller, one, ancillary) == -errno


def test_only_root_says_that_it_is_another(caller: Caller) -> None:
    one, other = pair(caller, SOCK_DGRAM)
    assert caller.call("setsockopt", other, SOL_SOCKET, SO_PASSCRED, pack(">i", 1), 4) == 0
    other_process = beside(SCM_CREDENTIALS, pack(">iII", 1, 5, 6))
    assert send(caller, one, other_process) == 4
    assert receive(caller, other, 100) == (4, other_process, 0)
    caller.process.credentials = Credentials(uid=1000, gid=1000)
    assert send(caller, one, other_process) == -EPERM
    caller.guest.kernel.current_pid = caller.process.pid
    assert send(caller, one, beside(SCM_CREDENTIALS, pack(">iII", caller.process.pid, 1000, 1000))) == 4

"""Pseudo terminals, beside what tests/conformance/pty_calls.c compares: what qemu-s390x lacks, limits and ends."""

import struct
from errno import EACCES, EAGAIN, EINVAL, EIO, ENOSPC, ENOTTY, EPERM

import pytest
from calls390_support import AT_FDCWD, Caller
from guest390_support import Guest390

from vmguest.fs.devpts import TTY_GROUP
from vmguest.fs.ioctls import FIONREAD
from vmguest.fs.namei import existing
from vmguest.fs.open import O_NOCTTY, O_NONBLOCK, O_RDWR
from vmguest.pseudo_terminals import MOST_TERMINALS, ROOM_BYTES
from vmguest.tty import termios

_INT = struct.Struct(">i")
SIGINT, SIGKILL = 2, 9


@pytest.fixture
def caller(guest: Guest390) -> Caller:
    return Caller(guest)


def ask(caller: Caller, number: int, request: int) -> int:
    """Return the int that a request stores, or its error."""
    address = caller.put(_INT.size)
    result = caller.call("ioctl", number, request, address)
    return int(_INT.unpack(caller.get(address, _INT.size))[0]) if result == 0 else result or 0


def new_terminal(caller: Caller) -> tuple[int, int]:
    """Return descriptors of both sides."""
    keyboard = caller.open(b"/dev/ptmx", O_RDWR | O_NONBLOCK)
    assert caller.call("ioctl", keyboard, termios.TIOCSPTLCK, _INT.pack(0)) == 0
    name = b"/dev/pts/%d" % ask(caller, keyboard, termios.TIOCGPTN)
    return keyboard, caller.open(name, O_RDWR | O_NOCTTY | O_NONBLOCK)


def read(caller: Caller, number: int, size_bytes: int = 100) -> bytes | int:
    address = caller.put(size_bytes)
    result = caller.call("read", number, address, size_bytes)
    assert result is not None
    return result if result < 0 else caller.get(address, result)


def test_a_new_one_is_locked_and_says_so(caller: Caller) -> None:
    keyboard = caller.open(b"/dev/ptmx", O_RDWR)
    assert ask(caller, keyboard, termios.TIOCGPTLCK) == 1
    assert caller.call("openat", AT_FDCWD, b"/dev/pts/0\0", O_RDWR, 0) == -EIO
    assert caller.call("ioctl", keyboard, termios.TIOCSPTLCK, _INT.pack(0)) == 0
    assert ask(caller, keyboard, termios.TIOCGPTLCK) == 0
    assert caller.call("openat", AT_FDCWD, b"/dev/pts/0\0", O_RDWR, 0) == keyboard + 1


def test_packets_begin_with_a_byte_of_zero(caller: Caller) -> None:
    keyboard, screen = new_terminal(caller)
    assert ask(caller, keyboard, termios.TIOCGPKT) == 0
    assert caller.call("ioctl", keyboard, termios.TIOCPKT, _INT.pack(1)) == 0
    assert ask(caller, keyboard, termios.TIOCGPKT) == 1
    assert caller.call("write", screen, b"shown", 5) == 5
    assert ask(caller, keyboard, FIONREAD) == 5
    assert (read(caller, keyboard, 4), read(caller, keyboard)) == (b"\0sho", b"\0wn")


def test_the_session_is_told_to_both_sides_and_signals_are_sent_for_the_keyboard(caller: Caller) -> None:
    keyboard, screen = new_terminal(caller)
    assert ask(caller, keyboard, termios.TIOCGSID) == -ENOTTY
    assert ask(caller, keyboard, termios.TIOCGPGRP) == 0
    caller.guest.system.scheduler.current = caller.thread
    assert caller.call("ioctl", screen, termios.TIOCSCTTY, 0) == 0
    pid = caller.process.pid
    assert [ask(caller, each, termios.TIOCGSID) for each in (keyboard, screen)] == [pid, pid]
    assert ask(caller, keyboard, termios.TIOCGPGRP) == pid
    assert caller.call("ioctl", keyboard, termios.TIOCSIG, SIGKILL) == -EINVAL
    other_keyboard, other_screen = new_terminal(caller)
    assert caller.call("ioctl", other_screen, termios.TIOCSCTTY, 0) == -EPERM  # it has one
    assert caller.call("ioctl", keyboard, termios.TIOCSIG, SIGINT) == 0
    caller.guest.system.scheduler.current = None
    caller.guest.programs.run(lambda: caller.process.ended is not None)
    assert caller.process.ended_by == SIGINT
    assert other_keyboard


def test_what_nobody_reads_is_limited(caller: Caller) -> None:
    keyboard, screen = new_terminal(caller)
    data, sides = b"line\n" * 2_000, (keyboard, screen)
    for side in sides:
        written = 0
        while (result := caller.call("write", side, data, len(data))) and result > 0:
            written += result
            assert written < 10 * ROOM_BYTES
        assert result == -EAGAIN
    shown = b""
    while isinstance(more := read(caller, keyboard, 10_000), bytes):
        shown += more
    assert ROOM_BYTES <= len(shown) < 6 * ROOM_BYTES
    assert (caller.call("write", screen, b"x", 1) or 0) > 0


def test_nodes_are_changed_and_nothing_is_made_beside_them(caller: Caller, guest: Guest390) -> None:
    new_terminal(caller)
    path = b"/dev/pts/0"
    assert caller.call("chown", path + b"\0", 7, 8) == 0
    assert caller.call("chmod", path + b"\0", 0o600) == 0
    inode = guest.kernel.vfs.resolve(path).inode
    assert (inode.uid, inode.gid, inode.mode & 0o7777) == (7, 8, 0o600)
    assert caller.call("unlink", path + b"\0") == -EPERM
    assert caller.call("mkdir", b"/dev/pts/d\0", 0o777) == -EPERM
    assert caller.call("openat", AT_FDCWD, b"/dev/pts/f\0", 0o101, 0o666) == -EACCES
    assert caller.call("chmod", b"/dev/pts\0", 0o700) == -EPERM
    assert existing(guest.kernel.vfs, b"/dev/pts/00") is None


def test_a_node_is_its_openers_and_of_group_tty(caller: Caller, guest: Guest390) -> None:
    assert caller.call("setuid", 1000) == 0
    new_terminal(caller)
    inode = guest.kernel.vfs.resolve(b"/dev/pts/0").inode
    assert (inode.uid, inode.gid, inode.mode & 0o7777) == (1000, TTY_GROUP, 0o620)


def test_one_that_is_closed_leaves_nothing(caller: Caller, guest: Guest390) -> None:
    devices, terminals = len(guest.kernel.devices.characters), len(guest.programs.jobs._terminals)
    for _ in range(3):
        keyboard, screen = new_terminal(caller)
        assert caller.call("close", keyboard) == 0
        assert read(caller, screen) == b""
        assert caller.call("close", screen) == 0
    assert (len(guest.kernel.devices.characters), len(guest.programs.jobs._terminals)) == (devices, terminals)


def test_there_are_so_many_at_most(caller: Caller, guest: Guest390, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmguest.pseudo_terminals.MOST_TERMINALS", 2)
    assert MOST_TERMINALS > 2
    new_terminal(caller)
    new_terminal(caller)
    assert caller.call("openat", AT_FDCWD, b"/dev/ptmx\0", O_RDWR, 0) == -ENOSPC
    assert guest.kernel.devices.character((136, 2)) is None

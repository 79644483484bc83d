"""System calls on sockets of AF_UNIX; there is no network.

Programs make them by socketcall(2), as glibc does on s390x, or each by a number of its own.
"""

import struct
from errno import EAFNOSUPPORT, EAGAIN, EDOM, EINVAL, ENOPROTOOPT, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPROTONOSUPPORT
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.open import O_CLOEXEC, O_NONBLOCK, FileDescription
from vmguest.fs.poll import POLLIN, POLLOUT
from vmguest.fs.socket_names import MOST_BYTES as MOST_NAME_BYTES
from vmguest.fs.unix_socket import (
    CAPACITY_BYTES,
    SOCK_DGRAM,
    Sender,
    UnixSocket,
    make_socketpair,
    new_socket,
    open_socket,
)
from vmguest.s390x.calls.files import install_pair, or_wait
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import INT, TIMEVAL, timeval
from vmguest.s390x.calls.times import deadline_in, is_over
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.system import System

CALLS = CallGroup()
AF_UNIX: Final = 1
_AF_UNSPEC: Final = 0
_KIND: Final = 0xF  # of the type of a socket; above it are O_NONBLOCK and O_CLOEXEC
SOL_SOCKET: Final = 1
_SO_TYPE, _SO_ERROR, _SO_SNDBUF, _SO_RCVBUF, _SO_PASSCRED, _SO_PEERCRED, _SO_ACCEPTCONN = 3, 4, 7, 8, 16, 17, 30
_SO_PROTOCOL, _SO_DOMAIN = 38, 39
_TICK_MICROSECONDS: Final = 10_000  # Linux counts such times in ticks, of which s390 has 100 a second
# The events that a time is for. The second number of each is that of 32-bit programs' newer structure, the same here.
_SO_TIMES: Final = {20: POLLIN, 66: POLLIN, 21: POLLOUT, 67: POLLOUT}  # SO_RCVTIMEO, SO_SNDTIMEO
UCRED = struct.Struct(">iII")
_NOBODY: Final = 0xFFFF_FFFF  # the user of who made no connection yet
FAMILY = struct.Struct(">H")


def socket_of(thread: Thread, number: int) -> tuple[FileDescription, UnixSocket]:
    """Return the open file of a descriptor, and its socket. Raises KernelError: EBADF, ENOTSOCK."""
    opened = thread.process.files.get(number)
    if not isinstance(opened.file, UnixSocket):
        raise KernelError(ENOTSOCK, f"descriptor {number}: no socket")
    return opened, opened.file


def sender_of(system: System) -> Sender:
    """Return the process that makes a call, and its user."""
    user = system.vfs.user
    return Sender(system.kernel.current_pid or 0, user.uid, user.gid)


def read_name(thread: Thread, address: int, size_bytes: int) -> bytes:
    """Return what follows the family in an address that a program gives. Raises KernelError: EINVAL, EFAULT."""
    if not FAMILY.size <= size_bytes <= FAMILY.size + MOST_NAME_BYTES:
        raise KernelError(EINVAL, f"a socket's address of {size_bytes} bytes")
    packed = thread.process.space.read(address, size_bytes)
    if FAMILY.unpack_from(packed)[0] != AF_UNIX:
        raise KernelError(EINVAL, "a socket's address: wanted AF_UNIX")
    return packed[FAMILY.size :]


def write_name(thread: Thread, name: bytes, address: int, length: int) -> None:
    """Store an address, as much as there is room for, and its whole size. Raises KernelError: EINVAL, EFAULT."""
    space, packed = thread.process.space, FAMILY.pack(AF_UNIX) + name
    (room_bytes,) = INT.unpack(space.read(length, INT.size))
    if room_bytes < 0:
        raise KernelError(EINVAL, f"a socket's address into {room_bytes} bytes")
    space.write(address, packed[:room_bytes])
    space.write(length, INT.pack(len(packed)))


# -- making and connecting ---------------------------------------------------------------------------------------------


@CALLS.add("int", "int", "int")
def socket(system: System, thread: Thread, family: int, kind: int, protocol: int) -> int:
    """Make a socket."""
    if family != AF_UNIX:
        raise KernelError(EAFNOSUPPORT, f"socket of family {family}: a guest has no network")
    if protocol not in {0, AF_UNIX}:
        raise KernelError(EPROTONOSUPPORT, f"socket with protocol {protocol}")
    made = new_socket(kind & _KIND, lambda: sender_of(system), system.sockets.memory)
    opened = open_socket(system.vfs, made, kind & ~(_KIND | O_CLOEXEC))
    return thread.process.files.install(opened, close_on_exec=bool(kind & O_CLOEXEC))


@CALLS.add("int", "int", "int", "address")
def socketpair(system: System, thread: Thread, family: int, kind: int, protocol: int, numbers: int) -> int:
    """Make two connected sockets."""
    if family != AF_UNIX:
        raise KernelError(EOPNOTSUPP, f"socketpair of family {family}")
    if protocol not in {0, AF_UNIX}:
        raise KernelError(EPROTONOSUPPORT, f"socketpair with protocol {protocol}")
    flags = kind & ~(_KIND | O_CLOEXEC)
    pair = make_socketpair(system.vfs, kind & _KIND, flags, lambda: sender_of(system), system.sockets.memory)
    return install_pair(thread, pair, numbers, kind)


@CALLS.add("fd", "address", "int")
def bind(system: System, thread: Thread, number: int, name: int, length: int) -> int:
    """Give a socket a name: a file's, or an abstract one."""
    _, found = socket_of(thread, number)
    given = read_name(thread, name, length)
    system.sockets.bind(system.vfs, found, given, thread.process.directory.place)
    return 0


@CALLS.add("fd", "int")
def listen(_system: System, thread: Thread, number: int, backlog: int) -> int:
    """Take connections."""
    socket_of(thread, number)[1].listen(backlog)
    return 0


@CALLS.add("fd", "address", "int")
def connect(system: System, thread: Thread, number: int, name: int, length: int) -> int:
    """Connect to the socket of a name; AF_UNSPEC has datagrams go nowhere any more."""
    opened, found = socket_of(thread, number)
    if found.kind == SOCK_DGRAM and length >= FAMILY.size:
        (family,) = FAMILY.unpack(thread.process.space.read(name, FAMILY.size))
        if family == _AF_UNSPEC:
            found.peer = None
            return 0
    given = read_name(thread, name, length)
    other = system.sockets.find(system.vfs, given, thread.process.directory.place, found.kind)
    try:
        found.connect(other)
    except KernelError as error:
        deadline = deadline_in(thread, found.most_seconds(POLLOUT))
        if error.errno != EAGAIN or opened.flags & O_NONBLOCK or is_over(deadline):
            raise
        raise WaitError(lambda: other.can_connect, deadline, restart=deadline is None) from error
    return 0


@CALLS.add("fd", "address", "address", "open")
def accept4(system: System, thread: Thread, number: int, name: int, length: int, flags: int) -> int:
    """Take a connection, as a socket of its own."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise KernelError(EINVAL, f"accept4 with flags {flags:#o}")
    opened, listener = socket_of(thread, number)
    try:
        found = listener.accept()
    except KernelError as error:
        raise or_wait(error, thread, opened, POLLIN) from error
    accepted = open_socket(system.vfs, found, flags & O_NONBLOCK)
    new = thread.process.files.install(accepted, close_on_exec=bool(flags & O_CLOEXEC))
    if name:
        write_name(thread, b"" if found.peer is None else found.peer.name, name, length)
    return new


@CALLS.add("fd", "int")
def shutdown(_system: System, thread: Thread, number: int, how: int) -> int:
    """End one direction of a socket, or both."""
    socket_of(thread, number)[1].shutdown(how)
    return 0


@CALLS.add("fd", "address", "address")
def getsockname(_system: System, thread: Thread, number: int, buffer: int, length: int) -> int:
    """Tell a socket's name."""
    write_name(thread, socket_of(thread, number)[1].name, buffer, length)
    return 0


@CALLS.add("fd", "address", "address")
def getpeername(_system: System, thread: Thread, number: int, buffer: int, length: int) -> int:
    """Tell the name of a socket's other end."""
    peer = socket_of(thread, number)[1].peer
    if peer is None:
        raise KernelError(ENOTCONN, f"descriptor {number}: not connected")
    write_name(thread, peer.name, buffer, length)
    return 0


# -- options -----------------------------------------------------------------------------------------------------------


def _option(found: UnixSocket, option: int) -> bytes | None:
    numbers = {
        _SO_TYPE: found.kind,
        _SO_SNDBUF: CAPACITY_BYTES,
        _SO_RCVBUF: CAPACITY_BYTES,
        _SO_PASSCRED: int(found.wants_sender),
        _SO_ACCEPTCONN: int(found.backlog is not None),
        _SO_PROTOCOL: 0,
        _SO_DOMAIN: AF_UNIX,
    }
    if option == _SO_PEERCRED:
        sender = found.peer_sender
        return UCRED.pack(*sender) if sender.pid else UCRED.pack(0, _NOBODY, _NOBODY)
    if option in _SO_TIMES:
        return TIMEVAL.pack(*timeval(found.most_seconds(_SO_TIMES[option]) or 0))
    if option == _SO_ERROR:
        return INT.pack(found.take_error())
    return INT.pack(numbers[option]) if option in numbers else None


@CALLS.add("fd", "int", "int", "address", "address")
def getsockopt(_system: System, thread: Thread, number: int, level: int, option: int, buffer: int, length: int) -> int:
    """Tell an option of a socket."""
    _, found = socket_of(thread, number)
    space = thread.process.space
    (room_bytes,) = INT.unpack(space.read(length, INT.size))
    if level != SOL_SOCKET:
        raise KernelError(EOPNOTSUPP, f"getsockopt of level {level}")
    if room_bytes < 0:
        raise KernelError(EINVAL, f"getsockopt into {room_bytes} bytes")
    answer = _option(found, option)
    if answer is None:
        raise KernelError(ENOPROTOOPT, f"getsockopt {level}, {option}")
    space.write(buffer, answer[:room_bytes])
    space.write(length, INT.pack(min(room_bytes, len(answer))))
    return 0


@CALLS.add("fd", "int", "int", "address", "int")
def setsockopt(_system: System, thread: Thread, number: int, level: int, option: int, value: int, length: int) -> int:
    """Have a socket tell who sends, or wait for a time only; other options are taken, and change nothing here."""
    _, found = socket_of(thread, number)
    if level != SOL_SOCKET:
        raise KernelError(EOPNOTSUPP, f"setsockopt of level {level}")
    if length < (TIMEVAL.size if option in _SO_TIMES else INT.size):
        raise KernelError(EINVAL, f"setsockopt of {length} bytes")
    if option in _SO_TIMES:
        found.limit_waits(_SO_TIMES[option], _read_time(thread, value))
        return 0
    (wanted,) = INT.unpack(thread.process.space.read(value, INT.size))
    if option == _SO_PASSCRED:
        found.wants_sender = bool(wanted)
    return 0


def _read_time(thread: Thread, address: int) -> float | None:
    """Return how long a call may wait, None without end (sock_set_timeout). Raises KernelError: EDOM, EFAULT."""
    seconds, microseconds = TIMEVAL.unpack(thread.process.space.read(address, TIMEVAL.size))
    if not 0 <= microseconds < 1_000_000:
        raise KernelError(EDOM, f"a time of {microseconds} microseconds")
    if seconds < 0:
        return 0.0
    return -(-(seconds * 1_000_000 + microseconds) // _TICK_MICROSECONDS) * _TICK_MICROSECONDS / 1e6 or None

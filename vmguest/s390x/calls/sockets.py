"""System calls on sockets: there are pairs of connected ones, and no network.

Programs make them by socketcall(2), as glibc does on s390x, or each by a number of its own.
"""

import struct
from errno import EAFNOSUPPORT, EAGAIN, EINVAL, EISCONN, ENOPROTOOPT, ENOTSOCK, EOPNOTSUPP, EPROTONOSUPPORT
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.open import O_CLOEXEC, FileDescription
from vmguest.fs.poll import POLLIN, POLLOUT
from vmguest.fs.socketpair import CAPACITY_BYTES, SocketEnd, make_socketpair
from vmguest.s390x.calls.files import MOST_BYTES, install_pair, or_wait, write
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import INT, ULONG
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_AF_UNIX: Final = 1
_KIND: Final = 0xF  # of the type of a socket; above it are O_NONBLOCK and O_CLOEXEC
_MSG_PEEK, _MSG_DONTWAIT, _MSG_NOSIGNAL = 0x2, 0x40, 0x4000
_SOL_SOCKET: Final = 1
_SO_TYPE, _SO_ERROR, _SO_SNDBUF, _SO_RCVBUF, _SO_PEERCRED = 3, 4, 7, 8, 17
_UCRED = struct.Struct(">iII")
_FAMILY = struct.Struct(">H")
_MOST_MESSAGE_BYTES: Final = 1 << 20


def _socket(thread: Thread, number: int) -> tuple[FileDescription, SocketEnd]:
    opened = thread.process.files.get(number)
    if not isinstance(opened.file, SocketEnd):
        raise KernelError(ENOTSOCK, f"descriptor {number}: no socket")
    return opened, opened.file


@CALLS.add("int", "int", "int")
def socket(_system: System, _thread: Thread, family: int, _kind: int, _protocol: int) -> int:
    """Refuse: a guest has no network, and no sockets with names."""
    raise KernelError(EAFNOSUPPORT, f"socket of family {family}")


@CALLS.add("int", "int", "int", "address")
def socketpair(system: System, thread: Thread, family: int, kind: int, protocol: int, numbers: int) -> int:
    """Make two connected sockets."""
    if family != _AF_UNIX:
        raise KernelError(EOPNOTSUPP, f"socketpair of family {family}")
    if protocol not in {0, _AF_UNIX}:
        raise KernelError(EPROTONOSUPPORT, f"socketpair with protocol {protocol}")
    pair = make_socketpair(system.vfs, kind & _KIND, kind & ~(_KIND | O_CLOEXEC))
    return install_pair(thread, pair, numbers, kind)


@CALLS.add("fd", "int")
def shutdown(_system: System, thread: Thread, number: int, how: int) -> int:
    """End one direction of a socket, or both."""
    _socket(thread, number)[1].shutdown(how)
    return 0


@CALLS.add("fd", "data", "size", "flags", "address", "int")
def sendto(
    system: System, thread: Thread, number: int, data: int, size_bytes: int, flags: int, _to: int, _length: int
) -> int:
    """Send bytes, or a message."""
    opened, _ = _socket(thread, number)
    if not flags & (_MSG_DONTWAIT | _MSG_NOSIGNAL):
        return write(system, thread, number, data, size_bytes) or 0
    try:
        return opened.write(thread.process.space.read(data, min(size_bytes, MOST_BYTES)))
    except KernelError as error:
        raise _unless_refused(error, opened, flags, POLLOUT) from error


@CALLS.add("fd", "buffer", "size", "flags", "address", "address")
def recvfrom(
    _system: System, thread: Thread, number: int, buffer: int, size_bytes: int, flags: int, _sender: int, length: int
) -> int:
    """Receive bytes, or a message; its sender has no name."""
    opened, end = _socket(thread, number)
    taken = memoryview(bytearray(min(size_bytes, _MOST_MESSAGE_BYTES)))
    try:
        received = end.receive(taken, peek=bool(flags & _MSG_PEEK))
    except KernelError as error:
        raise _unless_refused(error, opened, flags, POLLIN) from error
    thread.process.space.write(buffer, bytes(received))
    if length:
        thread.process.space.write(length, INT.pack(0))
    return len(received)


def _unless_refused(error: KernelError, opened: FileDescription, flags: int, events: int) -> Exception:
    """Return what to raise: a wait, unless the call or the socket says that it does not wait."""
    return error if error.errno == EAGAIN and flags & _MSG_DONTWAIT else or_wait(error, opened, events)


@CALLS.add("fd", "int", "int", "address", "address")
def getsockopt(_system: System, thread: Thread, number: int, level: int, option: int, buffer: int, length: int) -> int:
    """Tell an option of a socket."""
    _, end = _socket(thread, number)
    process = thread.process
    user = process.credentials
    answers = {
        _SO_TYPE: INT.pack(end.kind),
        _SO_ERROR: INT.pack(0),
        _SO_SNDBUF: INT.pack(CAPACITY_BYTES),
        _SO_RCVBUF: INT.pack(CAPACITY_BYTES),
        _SO_PEERCRED: _UCRED.pack(process.pid, user.uid, user.gid),
    }
    if level != _SOL_SOCKET or option not in answers:
        raise KernelError(ENOPROTOOPT, f"getsockopt {level}, {option}")
    (room_bytes,) = INT.unpack(process.space.read(length, INT.size))
    if room_bytes < 0:
        raise KernelError(EINVAL, f"getsockopt into {room_bytes} bytes")
    answer = answers[option][:room_bytes]
    process.space.write(buffer, answer)
    process.space.write(length, INT.pack(len(answer)))
    return 0


@CALLS.add("fd", "int", "int", "address", "int")
def setsockopt(_system: System, thread: Thread, number: int, level: int, option: int, _value: int, _length: int) -> int:
    """Take options that change nothing here."""
    _socket(thread, number)
    if level != _SOL_SOCKET:
        raise KernelError(ENOPROTOOPT, f"setsockopt {level}, {option}")
    return 0


@CALLS.add("fd", "address", "address")
def getsockname(_system: System, thread: Thread, number: int, buffer: int, length: int) -> int:
    """Tell a socket's name: those of a pair have none."""
    _socket(thread, number)
    space = thread.process.space
    (room_bytes,) = INT.unpack(space.read(length, INT.size))
    space.write(buffer, _FAMILY.pack(_AF_UNIX)[: max(0, room_bytes)])
    space.write(length, INT.pack(_FAMILY.size))
    return 0


@CALLS.add("fd", "address", "address")
def getpeername(system: System, thread: Thread, number: int, buffer: int, length: int) -> int:
    """Tell the name of a socket's other end: those of a pair have none."""
    return getsockname(system, thread, number, buffer, length) or 0


@CALLS.add("fd", "address", "int")
def bind(_system: System, thread: Thread, number: int, _name: int, _length: int) -> int:
    """Refuse: sockets have no names."""
    _socket(thread, number)
    raise KernelError(EINVAL, f"bind of descriptor {number}: a socket of a pair gets no name")


@CALLS.add("fd", "address", "int")
def connect(_system: System, thread: Thread, number: int, _name: int, _length: int) -> int:
    """Refuse: both ends of a pair are connected."""
    _socket(thread, number)
    raise KernelError(EISCONN, f"connect of descriptor {number}: is connected")


# Which call socketcall(2) makes for each of its numbers (linux/net.h); send and recv are sendto and recvfrom.
_BY_NUMBER: Final = {
    1: "socket",
    2: "bind",
    3: "connect",
    6: "getsockname",
    7: "getpeername",
    8: "socketpair",
    9: "sendto",
    10: "recvfrom",
    11: "sendto",
    12: "recvfrom",
    13: "shutdown",
    14: "setsockopt",
    15: "getsockopt",
}
_SHORT: Final = {9: 4, 10: 4}  # those that have fewer parameters than the call that is made
_LAST_NUMBER: Final = 20  # SYS_SENDMMSG


@CALLS.add("int", "address")
def socketcall(system: System, thread: Thread, number: int, parameters: int) -> int:
    """Make a call on sockets by its number among them; the parameters are doublewords in memory."""
    name = _BY_NUMBER.get(number)
    if name is None:
        raise KernelError(EOPNOTSUPP if 1 <= number <= _LAST_NUMBER else EINVAL, f"socketcall {number}")
    call = next(each for each in CALLS.calls if each.name == name)
    count = _SHORT.get(number, len(call.kinds))
    packed = thread.process.space.read(parameters, count * ULONG.size)
    values = [value for (value,) in ULONG.iter_unpack(packed)]
    return call(system, thread, [0, 0, *values, *(0,) * (len(call.kinds) - count)]) or 0

"""System calls that send and receive by sockets, with open files and credentials beside the bytes (net/core/scm.c)."""

import struct
from collections.abc import Callable
from errno import EAGAIN, EBADF, EINVAL, EMSGSIZE, ENOBUFS, EPERM, EPIPE
from typing import Final, NamedTuple

from dcss.errors import KernelError
from vmguest.fs.open import O_NONBLOCK, FileDescription
from vmguest.fs.poll import POLLIN, POLLOUT
from vmguest.fs.unix_socket import SOCK_DGRAM, SOCK_STREAM, Received, Sender, UnixSocket, close_all
from vmguest.s390x.calls.files import MOST_BYTES, or_wait, send_sigpipe
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.sockets import FAMILY, SOL_SOCKET, UCRED, read_name, sender_of, socket_of
from vmguest.s390x.calls.structures import INT, IOVEC, UINT
from vmguest.s390x.calls.times import deadline_in, is_over, read_timeout
from vmguest.s390x.process import Process, Thread, WaitError
from vmguest.s390x.system import System

CALLS = CallGroup()
_MSG_OOB, _MSG_PEEK, _MSG_CTRUNC, _MSG_TRUNC = 0x1, 0x2, 0x8, 0x20
_MSG_WAITFORONE: Final = 0x10000
_MSG_DONTWAIT, _MSG_WAITALL, _MSG_NOSIGNAL, _MSG_CMSG_CLOEXEC = 0x40, 0x100, 0x4000, 0x4000_0000
_SCM_RIGHTS, _SCM_CREDENTIALS = 1, 2
_MSGHDR = struct.Struct(">Qi4xQQQQi4x")  # name and its size, vector and its count, ancillary data and its size, flags
_MMSGHDR_BYTES: Final = 64  # struct msghdr, and how many bytes were sent
_CMSGHDR = struct.Struct(">Qii")  # length with this head, level, type
_ALIGNMENT: Final = 8
_MOST_VECTORS: Final = 1024  # UIO_MAXIOV
_MOST_FILES: Final = 253  # SCM_MAX_FD
_MOST_ANCILLARY_BYTES: Final = 1 << 16
_MOST_RECEIVED_BYTES: Final = 1 << 20


class _MessageHead(NamedTuple):
    """struct msghdr."""

    name: int
    name_bytes: int
    vector: int
    parts: int
    ancillary: int
    ancillary_bytes: int
    flags: int


class _Ancillary(NamedTuple):
    """What a program sends beside the bytes."""

    files: tuple[FileDescription, ...] = ()
    sender: Sender | None = None


_NOTHING: Final = _Ancillary()


def _head(thread: Thread, address: int) -> _MessageHead:
    head = _MessageHead._make(_MSGHDR.unpack(thread.process.space.read(address, _MSGHDR.size)))
    if head.parts > _MOST_VECTORS:
        raise KernelError(EMSGSIZE, f"a message of {head.parts} parts, wanted at most {_MOST_VECTORS}")
    if head.name_bytes < 0:
        raise KernelError(EINVAL, f"a name of {head.name_bytes} bytes")
    return head


def _vector(thread: Thread, head: _MessageHead) -> list[tuple[int, int]]:
    packed = thread.process.space.read(head.vector, head.parts * IOVEC.size)
    return [(address, size_bytes) for address, size_bytes in IOVEC.iter_unpack(packed)]


# -- sending -----------------------------------------------------------------------------------------------------------


def _send(
    system: System, thread: Thread, number: int, data: bytes, flags: int, name: bytes | None, beside: _Ancillary
) -> int:
    """Send bytes, or a message; a stream's are sent in parts where there is no room, while the call waits."""
    opened, socket = socket_of(thread, number)
    to = None
    if name is not None and socket.kind == SOCK_DGRAM:
        to = system.sockets.find(system.vfs, name, thread.process.directory.place, SOCK_DGRAM)
    elif name is not None and socket.kind == SOCK_STREAM:
        to = socket  # which says that a stream goes nowhere else
    done = thread.written_bytes  # by this call, before it waited
    try:
        while True:
            files = beside.files if not done else ()
            done += socket.send(data[done:] if done else data, files, beside.sender, to)
            if socket.kind != SOCK_STREAM or done >= len(data):
                break
    except KernelError as error:
        if error.errno == EPIPE and socket.kind == SOCK_STREAM and not flags & _MSG_NOSIGNAL:
            send_sigpipe(system, thread)
        refused = _unless_refused(error, thread, opened, flags, _room_for(socket, to, len(data)))
        if isinstance(refused, WaitError) and not thread.deliverable:
            thread.written_bytes = done
            raise refused from error
        if not done:
            raise refused from error
    thread.written_bytes = 0
    return done


def _room_for(socket: UnixSocket, to: UnixSocket | None, size_bytes: int) -> Callable[[], bool] | None:
    """Return when a datagram to somebody else than the other end is worth a new try, None for all others."""
    if to is None or to is socket or to is socket.peer:
        return None
    return lambda: to.room_for(socket) >= max(1, size_bytes)


def _unless_refused(
    error: KernelError,
    thread: Thread,
    opened: FileDescription,
    flags: int,
    ready: Callable[[], bool] | None,
    events: int = POLLOUT,
) -> Exception:
    """Return what to raise: a wait, unless the call or the socket says that it does not wait."""
    if error.errno == EAGAIN and flags & _MSG_DONTWAIT:
        return error
    return or_wait(error, thread, opened, events, ready)


@CALLS.add("fd", "data", "size", "flags", "address", "int")
def sendto(
    system: System, thread: Thread, number: int, data: int, size_bytes: int, flags: int, to: int, length: int
) -> int:
    """Send bytes, or a message."""
    socket_of(thread, number)
    content = thread.process.space.read(data, min(size_bytes, MOST_BYTES))
    name = read_name(thread, to, length) if to and length else None
    return _send(system, thread, number, content, flags, name, _NOTHING)


@CALLS.add("fd", "address", "flags")
def sendmsg(system: System, thread: Thread, number: int, message: int, flags: int) -> int:
    """Send bytes, or a message, and open files beside it."""
    socket_of(thread, number)
    head, space = _head(thread, message), thread.process.space
    name = read_name(thread, head.name, head.name_bytes) if head.name and head.name_bytes else None
    if head.ancillary_bytes > _MOST_ANCILLARY_BYTES:
        raise KernelError(ENOBUFS, f"{head.ancillary_bytes} bytes of ancillary data")
    beside = _NOTHING
    if head.ancillary and head.ancillary_bytes:
        beside = _ancillary(system, thread.process, space.read(head.ancillary, head.ancillary_bytes))
    content = b"".join(space.read(*part) for part in _vector(thread, head))
    return _send(system, thread, number, content, flags, name, beside)


@CALLS.add("fd", "address", "uint", "flags")
def sendmmsg(system: System, thread: Thread, number: int, messages: int, count: int, flags: int) -> int:
    """Send several messages; return how many were sent before one would have to wait, or failed."""
    done = 0
    try:
        for index in range(min(count, _MOST_VECTORS)):
            address = messages + index * _MMSGHDR_BYTES
            sent = sendmsg(system, thread, number, address, flags | (_MSG_DONTWAIT if done else 0)) or 0
            thread.process.space.write(address + _MSGHDR.size, UINT.pack(sent))
            done += 1
    except KernelError:
        if not done:
            raise
    return done


def _ancillary(system: System, process: Process, packed: bytes) -> _Ancillary:
    """Return what ancillary data says (__scm_send). Raises KernelError: EINVAL, EBADF, EPERM."""
    files: list[FileDescription] = []
    sender: Sender | None = None
    at = 0
    while at + _CMSGHDR.size <= len(packed):
        size_bytes, level, kind = _CMSGHDR.unpack_from(packed, at)
        if not _CMSGHDR.size <= size_bytes <= len(packed) - at:
            raise KernelError(EINVAL, f"ancillary data of {size_bytes} bytes")
        content = packed[at + _CMSGHDR.size : at + size_bytes]
        at += -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
        if level != SOL_SOCKET:
            continue
        if kind == _SCM_RIGHTS:
            numbers = [number for (number,) in INT.iter_unpack(content[: len(content) // INT.size * INT.size])]
            if len(files) + len(numbers) > _MOST_FILES:
                raise KernelError(EINVAL, f"{len(numbers)} descriptors, wanted at most {_MOST_FILES}")
            if any(number < 0 for number in numbers):
                raise KernelError(EBADF, f"descriptors {numbers}")
            files += [process.files.get_any(number) for number in numbers]
        elif kind == _SCM_CREDENTIALS:
            sender = _credentials(system, process, content)
        else:
            raise KernelError(EINVAL, f"ancillary data of type {kind}")
    return _Ancillary(tuple(files), sender)


def _credentials(system: System, process: Process, content: bytes) -> Sender:
    """Return who a program says it is, which root may choose (scm_check_creds). Raises KernelError: EINVAL, EPERM."""
    if len(content) != UCRED.size:
        raise KernelError(EINVAL, f"credentials of {len(content)} bytes")
    said, true = Sender._make(UCRED.unpack(content)), sender_of(system)
    if said != true and not process.credentials.privileged:
        raise KernelError(EPERM, f"credentials {said}: are {true}")
    return said


# -- receiving ---------------------------------------------------------------------------------------------------------


def _receive(thread: Thread, number: int, size_bytes: int, flags: int) -> tuple[UnixSocket, Received]:
    opened, socket = socket_of(thread, number)
    if flags & _MSG_OOB:
        raise KernelError(EINVAL, "sockets of AF_UNIX have no urgent data here")
    size_bytes = min(size_bytes, _MOST_RECEIVED_BYTES)
    blocks = not (opened.flags & O_NONBLOCK or flags & (_MSG_DONTWAIT | _MSG_PEEK))
    takes_all = flags & _MSG_WAITALL and socket.kind == SOCK_STREAM and socket.connected
    deadline = deadline_in(thread, socket.most_seconds(POLLIN))
    if takes_all and blocks and not socket.has_bytes(size_bytes) and not is_over(deadline):
        raise WaitError(lambda: socket.has_bytes(size_bytes), deadline, restart=deadline is None)
    try:
        return socket, socket.receive(size_bytes, peek=bool(flags & _MSG_PEEK))
    except KernelError as error:
        raise _unless_refused(error, thread, opened, flags, None, POLLIN) from error


def _result(socket: UnixSocket, received: Received, flags: int) -> int:
    """Return how many bytes there were, with MSG_TRUNC of a whole message."""
    whole = flags & _MSG_TRUNC and socket.kind != SOCK_STREAM
    return received.whole_bytes if whole else len(received.data)


@CALLS.add("fd", "buffer", "size", "flags", "address", "address")
def recvfrom(
    _system: System, thread: Thread, number: int, buffer: int, size_bytes: int, flags: int, sender: int, length: int
) -> int:
    """Receive bytes, or a message, and the name of its sender."""
    socket, received = _receive(thread, number, size_bytes, flags)
    received.close()
    space = thread.process.space
    space.write(buffer, received.data)
    if sender:
        (room_bytes,) = INT.unpack(space.read(length, INT.size))
        name = _shown_name(received)
        space.write(sender, name[: max(0, room_bytes)])
        space.write(length, INT.pack(len(name)))
    return _result(socket, received, flags)


def _shown_name(received: Received) -> bytes:
    """Return the address of a sender, empty where its socket has no name (unix_copy_addr)."""
    return FAMILY.pack(1) + received.name if received.name else b""


@CALLS.add("fd", "address", "flags")
def recvmsg(_system: System, thread: Thread, number: int, message: int, flags: int) -> int:
    """Receive bytes, or a message, and what is beside it."""
    socket_of(thread, number)
    head, space = _head(thread, message), thread.process.space
    parts = _vector(thread, head)
    socket, received = _receive(thread, number, sum(size_bytes for _, size_bytes in parts), flags)
    try:
        rest = memoryview(received.data)
        for address, size_bytes in parts:
            space.write(address, rest[:size_bytes])
            rest = rest[size_bytes:]
    except KernelError:
        received.close()
        raise
    name = _shown_name(received) if head.name else b""
    if head.name:
        space.write(head.name, name[: head.name_bytes])
    shown = flags & _MSG_CMSG_CLOEXEC
    if socket.kind != SOCK_STREAM and received.whole_bytes > len(received.data):
        shown |= _MSG_TRUNC
    beside, truncated = _take_beside(thread, socket, received, head, close_on_exec=bool(flags & _MSG_CMSG_CLOEXEC))
    if beside:
        space.write(head.ancillary, beside)
    shown |= _MSG_CTRUNC if truncated else 0
    space.write(message, _MSGHDR.pack(*head._replace(name_bytes=len(name), ancillary_bytes=len(beside), flags=shown)))
    return _result(socket, received, flags)


@CALLS.add("fd", "address", "uint", "flags", "address")
def recvmmsg(system: System, thread: Thread, number: int, messages: int, count: int, flags: int, timeout: int) -> int:
    """Receive several messages; return how many there were before one would have to wait, or failed."""
    space, deadline = thread.process.space, deadline_in(thread, read_timeout(thread, timeout))
    done = thread.written_bytes  # messages that this call has received before it waited
    try:
        while done < min(count, _MOST_VECTORS) and not (done and is_over(deadline)):
            address = messages + done * _MMSGHDR_BYTES
            blocks = not done or not flags & _MSG_WAITFORONE
            got = recvmsg(system, thread, number, address, flags & ~_MSG_WAITFORONE | (0 if blocks else _MSG_DONTWAIT))
            space.write(address + _MSGHDR.size, UINT.pack(got or 0))
            done += 1
    except KernelError:
        if not done:
            raise
    except WaitError:
        if not (done and thread.deliverable):
            thread.written_bytes = done
            raise
    thread.written_bytes = 0
    return done


def _take_beside(
    thread: Thread, socket: UnixSocket, received: Received, head: _MessageHead, *, close_on_exec: bool
) -> tuple[bytes, bool]:
    """Give the process the files of a message; return the ancillary data, and whether something had no room."""
    room_bytes = head.ancillary_bytes if head.ancillary else 0
    packed, truncated = b"", False
    if socket.wants_sender:
        packed, truncated = _packed(_SCM_CREDENTIALS, UCRED.pack(*received.sender), room_bytes)
    if not received.files:
        return packed, truncated
    most = max(0, room_bytes - len(packed) - _CMSGHDR.size) // INT.size
    numbers: list[int] = []
    for index, file in enumerate(received.files[:most]):
        try:
            numbers.append(thread.process.files.install(file, close_on_exec=close_on_exec))
        except KernelError:  # no descriptor is left; the file was closed
            close_all(received.files[index + 1 : most])
            break
    close_all(received.files[most:])
    if numbers:
        packed += _packed(_SCM_RIGHTS, b"".join(map(INT.pack, numbers)), room_bytes - len(packed))[0]
    return packed, truncated or len(numbers) < len(received.files)


def _packed(kind: int, content: bytes, room_bytes: int) -> tuple[bytes, bool]:
    """Return a part of ancillary data, cut to the room that there is, and whether it was cut (put_cmsg)."""
    if room_bytes < _CMSGHDR.size:
        return b"", True
    whole_bytes = _CMSGHDR.size + len(content)
    size_bytes = min(whole_bytes, room_bytes)
    space_bytes = min(-(-whole_bytes // _ALIGNMENT) * _ALIGNMENT, room_bytes)
    packed = _CMSGHDR.pack(size_bytes, SOL_SOCKET, kind) + content[: size_bytes - _CMSGHDR.size]
    return packed.ljust(space_bytes, b"\0"), size_bytes < whole_bytes

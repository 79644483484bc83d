"""Pairs of connected sockets (socketpair of AF_UNIX, net/unix/af_unix.c): each end reads what the other one writes."""

import stat
from collections import deque
from errno import EAGAIN, ECONNREFUSED, ECONNRESET, EINVAL, EMSGSIZE, ENOTCONN, ENOTTY, EOPNOTSUPP, EPIPE
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.anonymous import SOCKFS, anonymous_dentry
from vmguest.fs.file import StreamFile, UserMemory
from vmguest.fs.ioctls import FIONREAD, INT
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDWR, FileDescription
from vmguest.fs.poll import POLLERR, POLLHUP, POLLRDHUP, POLLWRBAND, READABLE, WRITABLE

SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
SHUT_RD, SHUT_WR, SHUT_RDWR = range(3)
CAPACITY_BYTES: Final = 212_992  # net.core.wmem_default
_RECEIVES, _SENDS = 1, 2  # RCV_SHUTDOWN, SEND_SHUTDOWN


class SocketEnd(StreamFile):
    """One end; `kind` is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET. Its queue holds what it has not read.

    Streams join messages, and take them apart. Where the two other kinds differ: a datagram's sender meets the end of
    the other side by an error, and its reader never.
    """

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.peer: SocketEnd | None = None  # None when datagrams found it gone
        self._messages: deque[bytes] = deque()
        self._size_bytes = 0
        self._shut = 0  # _RECEIVES and _SENDS, what it does not do any more
        self._error = 0  # an errno that the next call fails with
        self._closed = False
        self._arrivals = 0
        self._departures = 0  # of what it sent

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take bytes, or what fits of one message; return 0 where no more will come. Raises KernelError(EAGAIN)."""
        return len(self.receive(buffer)) if buffer else 0

    def receive(self, buffer: memoryview, *, peek: bool = False) -> memoryview:
        """Copy bytes, or what fits of one message, into a buffer; return that part. With `peek` they stay.

        Raises KernelError: EAGAIN, ECONNRESET where the other end was closed without having read everything.
        """
        if self.kind != SOCK_STREAM:
            self._raise_error()
        if not self._messages:
            self._raise_error()
            if self._shut & _RECEIVES:
                return buffer[:0]
            raise KernelError(EAGAIN, "the socket has nothing to read")
        if self.kind == SOCK_STREAM:
            return self._receive_bytes(buffer, peek=peek)
        message = self._messages[0] if peek else self._take()
        size_bytes = min(len(message), len(buffer))
        buffer[:size_bytes] = message[:size_bytes]
        return buffer[:size_bytes]

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Send bytes, or a message as a whole.

        Raises KernelError: EPIPE this end or the other one takes no more, EMSGSIZE, EAGAIN; of datagrams ECONNREFUSED
        and then ENOTCONN where the other end is closed.
        """
        peer = self.peer
        if self.kind != SOCK_STREAM:
            self._raise_error()
        if peer is None:
            raise KernelError(ENOTCONN, "the socket has no other end any more")
        if self._shut & _SENDS:
            raise KernelError(EPIPE, "the socket sends nothing any more")
        if self.kind == SOCK_STREAM and not data:
            return 0
        if self.kind != SOCK_STREAM and len(data) > CAPACITY_BYTES:
            raise KernelError(EMSGSIZE, f"message of {len(data)} bytes, wanted at most {CAPACITY_BYTES}")
        if peer._closed:
            self.peer = None
            self._forget()  # what it sent before is lost with it
            raise KernelError(ECONNREFUSED, "the other end of the socket is closed")
        if peer._shut & _RECEIVES:
            raise KernelError(EPIPE, "nobody reads the other end of the socket")
        room_bytes = CAPACITY_BYTES - peer._size_bytes
        if self.kind == SOCK_STREAM:
            data = data[:room_bytes]
        if room_bytes <= 0 or len(data) > room_bytes:
            raise KernelError(EAGAIN, f"the socket has room for {room_bytes} bytes")
        peer._messages.append(bytes(data))
        peer._size_bytes += len(data)
        peer._arrivals += 1
        return len(data)

    def shutdown(self, how: int) -> None:
        """End one direction or both. Raises KernelError(EINVAL)."""
        if how not in {SHUT_RD, SHUT_WR, SHUT_RDWR}:
            raise KernelError(EINVAL, f"shutdown {how}: wanted 0 to 2")
        ended = how + 1
        self._shut |= ended
        if self.peer is not None and self.kind != SOCK_DGRAM:
            self.peer._shut |= (ended & _RECEIVES) << 1 | (ended & _SENDS) >> 1

    def poll(self) -> int:
        """Return what can be done, and whether the other end has gone."""
        events = READABLE if self._messages else 0
        if self._shut & _RECEIVES:
            events |= READABLE | POLLRDHUP
        if self._shut == _RECEIVES | _SENDS:
            events |= POLLHUP
        if self._error:
            events |= POLLERR
        if self.peer is None or self.peer._size_bytes <= CAPACITY_BYTES * 3 // 4:  # unix_writable
            events |= WRITABLE | POLLWRBAND
        return events

    def activity(self) -> object:
        """Return how often something came, or room for more."""
        return self._arrivals, self._departures

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Tell with FIONREAD how much can be read, of messages the next one. Raises KernelError(ENOTTY)."""
        if request != FIONREAD:
            raise KernelError(ENOTTY, f"ioctl {request:#x}: no request of sockets")
        first = len(self._messages[0]) if self._messages else 0
        memory.write(argument, INT.pack(self._size_bytes if self.kind == SOCK_STREAM else first))
        return 0

    def close(self) -> None:
        """End both directions; the other end learns of bytes that were not read."""
        if self.peer is not None and self.kind != SOCK_DGRAM:
            self.peer._shut = _RECEIVES | _SENDS
            if self._messages:
                self.peer._error = ECONNRESET
        self._closed = True
        self._forget()

    def _forget(self) -> None:
        self._messages.clear()
        self._size_bytes = 0

    def _raise_error(self) -> None:
        """Fail once where the other end was closed without having read everything."""
        if self._error:
            error, self._error = self._error, 0
            raise KernelError(error, "the other end was closed before it had read everything")

    def _take(self) -> bytes:
        message = self._messages.popleft()
        self._size_bytes -= len(message)
        if self.peer is not None:
            self.peer._departures += 1
        return message

    def _receive_bytes(self, buffer: memoryview, *, peek: bool) -> memoryview:
        done = 0
        for message in tuple(self._messages):
            piece = message[: len(buffer) - done]
            buffer[done : done + len(piece)] = piece
            done += len(piece)
            if not peek:
                self._take()
                if rest := message[len(piece) :]:
                    self._messages.appendleft(rest)
                    self._size_bytes += len(rest)
            if done == len(buffer):
                break
        return buffer[:done]


def make_socketpair(vfs: Vfs, kind: int, flags: int = 0) -> tuple[FileDescription, FileDescription]:
    """Return two connected sockets; `flags` may be O_NONBLOCK. Raises KernelError: EOPNOTSUPP another kind, EINVAL."""
    if kind not in {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}:
        raise KernelError(EOPNOTSUPP, f"socketpair of kind {kind}: wanted 1, 2 or 5")
    if flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"socketpair with flags {flags:#o}: wanted none but O_NONBLOCK")
    one, other = SocketEnd(kind), SocketEnd(kind)
    one.peer, other.peer = other, one
    return _opened(vfs, one, flags), _opened(vfs, other, flags)


def _opened(vfs: Vfs, end: SocketEnd, flags: int) -> FileDescription:
    dentry = anonymous_dentry(vfs, SOCKFS, stat.S_IFSOCK | 0o777, "socket:[%d]")
    return FileDescription(vfs, dentry, end, O_RDWR | flags, target=end, device=end)

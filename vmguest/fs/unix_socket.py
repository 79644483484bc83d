"""Sockets of AF_UNIX (net/unix/af_unix.c): what one sends, another one reads, with open files and who sent it."""

import stat
from collections import deque
from collections.abc import Callable, Iterable
from errno import (
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOBUFS,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    EPROTOTYPE,
    ESOCKTNOSUPPORT,
)
from typing import Final, NamedTuple

from dcss.errors import KernelError
from vmguest.fs.anonymous import SOCKFS, anonymous_dentry
from vmguest.fs.file import StreamFile, UserMemory
from vmguest.fs.in_flight import InFlight
from vmguest.fs.ioctls import FIONREAD, INT
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_NONBLOCK, O_RDWR, FileDescription
from vmguest.fs.poll import POLLERR, POLLHUP, POLLRDHUP, POLLWRBAND, READABLE, WRITABLE

SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
SHUT_RD, SHUT_WR, SHUT_RDWR = range(3)
CAPACITY_BYTES: Final = 212_992  # net.core.wmem_default
MOST_QUEUED_BYTES: Final = 64 << 20  # in all sockets
_MESSAGE_BYTES: Final = 512  # what a message takes beside its bytes
MOST_BACKLOG: Final = 4096  # net.core.somaxconn
_MOST_DATAGRAMS: Final = 10  # net.unix.max_dgram_qlen: of those that others than its own peer send
_RECEIVES, _SENDS = 1, 2  # RCV_SHUTDOWN, SEND_SHUTDOWN


class Sender(NamedTuple):
    """Who sends: ids of its process and user (struct ucred)."""

    pid: int
    uid: int
    gid: int


KERNEL: Final = Sender(0, 0, 0)
UNKNOWN: Final = Sender(0, 65534, 65534)  # of what was sent when nobody wanted to know


class Message(NamedTuple):
    """What was sent by one call; `files` are held until they are received, `name` is that of the sender's socket."""

    data: bytes
    sender: Sender = UNKNOWN
    files: tuple[FileDescription, ...] = ()
    name: bytes = b""


class Received(NamedTuple):
    """What a receiver gets, who has to close `files`; `whole_bytes` is the size of a message that may have been cut."""

    data: bytes
    sender: Sender = UNKNOWN
    files: tuple[FileDescription, ...] = ()
    name: bytes = b""
    whole_bytes: int = 0

    def close(self) -> None:
        """Give up the files."""
        close_all(self.files)


class SocketMemory:
    """What the messages on their way take of the guest kernel's own memory: a limit for all sockets together."""

    def __init__(self, most_bytes: int = MOST_QUEUED_BYTES) -> None:
        self._most_bytes = most_bytes
        self.used_bytes = 0
        self.in_flight = InFlight()

    def take(self, size_bytes: int) -> None:
        """Take memory for one message. Raises KernelError(ENOBUFS)."""
        if self.used_bytes + size_bytes + _MESSAGE_BYTES > self._most_bytes:
            raise KernelError(ENOBUFS, f"messages have {self.used_bytes} bytes, wanted at most {self._most_bytes}")
        self.used_bytes += size_bytes + _MESSAGE_BYTES

    def give(self, size_bytes: int) -> None:
        """Give back that of one message."""
        self.used_bytes -= size_bytes + _MESSAGE_BYTES


class UnixSocket(StreamFile):
    """One socket; `kind` is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET. Its queue holds what it has not read.

    Streams join messages, and take them apart. Where the two other kinds differ: a datagram's sender meets the end of
    the other side by an error, and its reader never. `caller` tells who makes a call.
    """

    def __init__(self, kind: int, caller: Callable[[], Sender], memory: SocketMemory) -> None:
        self.kind = kind
        self.caller = caller
        self._memory = memory
        self.peer: UnixSocket | None = None  # None when datagrams found it gone
        self.peer_sender = UNKNOWN  # who made the connection, or listened for it
        self.name = b""  # what follows the family in its address: a path with its zero byte, or zero and any bytes
        self.unbind: Callable[[], None] | None = None  # forgets the name
        self.wants_sender = False  # SO_PASSCRED
        self._most_seconds: dict[int, float] = {}  # of a wait, by its events: SO_RCVTIMEO, SO_SNDTIMEO
        self.backlog: int | None = None  # how many connections may wait to be accepted; None where it does not listen
        self.accepted = True
        self._connections: deque[UnixSocket] = deque()
        self._messages: deque[Message] = deque()
        self._size_bytes = 0
        self._shut = 0  # _RECEIVES and _SENDS, what it does not do any more
        self._error = 0  # an errno that the next call fails with
        self._closed = False
        self._arrivals = 0
        self._departures = 0  # of what it sent

    # -- connections -----------------------------------------------------------------------------------------------

    def most_seconds(self, events: int) -> float | None:
        """Return how long a call waits at most for POLLIN or POLLOUT, None where it waits without end."""
        return self._most_seconds.get(events)

    def limit_waits(self, events: int, seconds: float | None) -> None:
        """Have calls wait for a time only."""
        if seconds is None:
            self._most_seconds.pop(events, None)
        else:
            self._most_seconds[events] = seconds

    @property
    def connected(self) -> bool:
        """Whether it has another end, or had one until that was closed."""
        return self.peer is not None

    def listen(self, backlog: int) -> None:
        """Take connections. Raises KernelError: EOPNOTSUPP datagrams, EINVAL without a name, or connected."""
        if self.kind == SOCK_DGRAM:
            raise KernelError(EOPNOTSUPP, "datagrams have no connections")
        if not self.name or self.connected:
            raise KernelError(EINVAL, "listen: wanted a socket with a name and no connection")
        self.backlog = min(backlog & 0xFFFF_FFFF, MOST_BACKLOG)
        self.peer_sender = self.caller()

    def connect(self, other: "UnixSocket") -> None:
        """Connect to who listens, or of datagrams, to whom they go.

        Raises KernelError: EPROTOTYPE of another kind, ECONNREFUSED nobody listens, EAGAIN too many wait, EISCONN,
        EINVAL it listens itself, EPERM datagrams that are connected to somebody else.
        """
        if other.kind != self.kind:
            raise KernelError(EPROTOTYPE, f"a socket of kind {self.kind}, and one of kind {other.kind}")
        if self.kind == SOCK_DGRAM:
            other.check_takes_from(self)
            self.peer = other
            return
        if other.backlog is None or other._shut & _RECEIVES:
            raise KernelError(ECONNREFUSED, "nobody listens")
        if not other.can_connect:
            raise KernelError(EAGAIN, f"{len(other._connections)} connections wait to be accepted")
        if self.connected:
            raise KernelError(EISCONN, "the socket is connected")
        if self.backlog is not None:
            raise KernelError(EINVAL, "the socket listens")
        end = UnixSocket(self.kind, other.caller, other._memory)
        end.name, end.accepted, end.wants_sender = other.name, False, other.wants_sender
        end.peer, self.peer = self, end
        end.peer_sender, self.peer_sender = self.caller(), other.peer_sender
        other._connections.append(end)
        other._arrivals += 1

    @property
    def can_connect(self) -> bool:
        """Whether a connection is taken, or refused, at once."""
        return self.backlog is None or len(self._connections) <= self.backlog

    def accept(self) -> "UnixSocket":
        """Take a connection. Raises KernelError: EOPNOTSUPP datagrams, EINVAL it does not listen, EAGAIN none waits."""
        if self.kind == SOCK_DGRAM:
            raise KernelError(EOPNOTSUPP, "datagrams have no connections")
        if self.backlog is None:
            raise KernelError(EINVAL, "the socket does not listen")
        if not self._connections:
            if self._shut & _RECEIVES:
                raise KernelError(EINVAL, "the socket takes no connections any more")
            raise KernelError(EAGAIN, "no connection waits to be accepted")
        end = self._connections.popleft()
        end.accepted = True
        return end

    def check_takes_from(self, sender: "UnixSocket") -> None:
        """Raise KernelError(EPERM) where datagrams are taken from somebody else only (unix_may_send)."""
        if self.peer is not None and self.peer is not sender:
            raise KernelError(EPERM, "the other socket is connected to another one")

    # -- receiving -------------------------------------------------------------------------------------------------

    def read(self, position: int, buffer: memoryview) -> int:  # noqa: ARG002
        """Take bytes, or what fits of one message; return 0 where no more will come. Raises KernelError(EAGAIN)."""
        if not buffer:
            return 0
        received = self.receive(len(buffer))
        received.close()
        buffer[: len(received.data)] = received.data
        return len(received.data)

    def receive(self, size_bytes: int, *, peek: bool = False) -> Received:
        """Take bytes, or what fits of one message. With `peek` they stay.

        Raises KernelError: EAGAIN, EINVAL or ENOTCONN without a connection, ECONNRESET where the other end was closed
        without having read everything.
        """
        if self.kind != SOCK_DGRAM and not self.connected:
            raise KernelError(EINVAL if self.kind == SOCK_STREAM else ENOTCONN, "the socket is not connected")
        if self.kind != SOCK_STREAM:
            self._raise_error()
        if not self._messages:
            self._raise_error()
            if self._shut & _RECEIVES:
                return Received(b"")
            raise KernelError(EAGAIN, "the socket has nothing to read")
        if self.kind == SOCK_STREAM:
            return self._receive_bytes(size_bytes, peek=peek)
        message = self._messages[0] if peek else self._take()
        files = tuple(each.hold() for each in message.files) if peek else message.files
        return Received(message.data[:size_bytes], message.sender, files, message.name, len(message.data))

    def has_bytes(self, size_bytes: int) -> bool:
        """Return whether a read would get so many bytes, or will never get more than there are."""
        return self._size_bytes >= min(size_bytes, CAPACITY_BYTES) or bool(self._shut & _RECEIVES or self._error)

    def _receive_bytes(self, size_bytes: int, *, peek: bool) -> Received:
        """Take bytes of as many messages as it takes, but no more behind one with files, or of another sender."""
        first, data = self._messages[0], b""
        files: tuple[FileDescription, ...] = ()
        for message in tuple(self._messages):
            if self.wants_sender and message.sender != first.sender:
                break
            piece = message.data[: size_bytes - len(data)]
            data += piece
            files = message.files
            if peek:
                files = tuple(each.hold() for each in files)
            else:
                self._take()
                if rest := message.data[len(piece) :]:
                    self._memory.take(len(rest))
                    self._messages.appendleft(message._replace(data=rest, files=()))
                    self._size_bytes += len(rest)
            if files or len(data) == size_bytes:
                break
        return Received(data, first.sender, files, first.name, len(data))

    # -- sending ---------------------------------------------------------------------------------------------------

    def write(self, position: int, data: bytes | memoryview) -> int:  # noqa: ARG002
        """Send bytes, or a message as a whole. Raises KernelError as `send` does."""
        if self.kind == SOCK_STREAM and not data:
            return 0
        return self.send(bytes(data))

    def send(
        self,
        data: bytes,
        files: Iterable[FileDescription] = (),
        sender: Sender | None = None,
        to: "UnixSocket | None" = None,
    ) -> int:
        """Send bytes, or a message as a whole; return how much found room.

        `sender` is who the caller says he is, and `to` where a datagram goes. Raises KernelError: EPIPE this end or
        the other one takes no more, EMSGSIZE, EAGAIN, ENOTCONN; of datagrams ECONNREFUSED where the other end is
        closed, EPERM.
        """
        if self.kind != SOCK_STREAM:
            self._raise_error()
        peer = self._target(to)
        if self._shut & _SENDS:
            raise KernelError(EPIPE, "the socket sends nothing any more")
        if self.kind == SOCK_STREAM and not data:
            return 0
        if self.kind != SOCK_STREAM and len(data) > CAPACITY_BYTES:
            raise KernelError(EMSGSIZE, f"message of {len(data)} bytes, wanted at most {CAPACITY_BYTES}")
        if peer._closed:
            if peer is self.peer:
                self.peer = None
                self._forget()  # what it sent before is lost with it
            raise KernelError(ECONNREFUSED, "the other end of the socket is closed")
        if self.kind == SOCK_DGRAM:
            peer.check_takes_from(self)
        if peer._shut & _RECEIVES:
            raise KernelError(EPIPE, "nobody reads the other end of the socket")
        room_bytes = peer.room_for(self)
        if self.kind == SOCK_STREAM:
            data = data[:room_bytes]
        if room_bytes <= 0 or len(data) > room_bytes:
            raise KernelError(EAGAIN, f"the socket has room for {room_bytes} bytes")
        if sender is None:
            told = self.wants_sender or peer.wants_sender or not peer.accepted
            sender = self.caller() if told else UNKNOWN
        peer._memory.take(len(data))
        held = tuple(each.hold() for each in files)
        peer._messages.append(Message(data, sender, held, self.name))
        if held:
            self._memory.in_flight.sent(peer)
        peer._size_bytes += len(data)
        peer._arrivals += 1
        return len(data)

    def room_for(self, sender: "UnixSocket") -> int:
        """Return how many bytes somebody else may send it now."""
        if self.kind == SOCK_DGRAM and self.peer is not sender and len(self._messages) > _MOST_DATAGRAMS:
            return 0
        return CAPACITY_BYTES - self._size_bytes

    def _target(self, to: "UnixSocket | None") -> "UnixSocket":
        if to is not None and self.kind == SOCK_STREAM:
            errno = EISCONN if self.connected else EOPNOTSUPP
            raise KernelError(errno, "a stream goes where it is connected to")
        peer = to if to is not None and self.kind == SOCK_DGRAM else self.peer
        if peer is None:
            raise KernelError(ENOTCONN, "the socket has no other end")
        return peer

    # -- state -----------------------------------------------------------------------------------------------------

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
        events = READABLE if self._messages or self._connections else 0
        if self._shut & _RECEIVES:
            events |= READABLE | POLLRDHUP
        unconnected = self.kind != SOCK_DGRAM and not self.connected and self.backlog is None
        if self._shut == _RECEIVES | _SENDS or unconnected:
            events |= POLLHUP
        if self._error:
            events |= POLLERR
        if self.backlog is None and self._is_writable():
            events |= WRITABLE | POLLWRBAND
        return events

    def _is_writable(self) -> bool:
        if self.peer is None:
            return True
        return self.peer._size_bytes <= CAPACITY_BYTES * 3 // 4 and self.peer.room_for(self) > 0  # unix_writable

    def activity(self) -> object:
        """Return how often something came, or room for more."""
        return self._arrivals, self._departures

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Tell with FIONREAD how much can be read, of messages the next one. Raises KernelError(ENOTTY)."""
        if request != FIONREAD:
            raise KernelError(ENOTTY, f"ioctl {request:#x}: no request of sockets")
        if self.backlog is not None:
            raise KernelError(EINVAL, "a socket that listens has nothing to read")
        first = len(self._messages[0].data) if self._messages else 0
        memory.write(argument, INT.pack(self._size_bytes if self.kind == SOCK_STREAM else first))
        return 0

    def take_error(self) -> int:
        """Return the errno that the next call would fail with, which it does not any more (SO_ERROR)."""
        error, self._error = self._error, 0
        return error

    def close(self) -> None:
        """End both directions; the other end learns of bytes that were not read, and of a connection not accepted."""
        if self.peer is not None and self.kind != SOCK_DGRAM:
            self.peer._shut = _RECEIVES | _SENDS
            if self._messages or not self.accepted:
                self.peer._error = ECONNRESET
        self._closed = True
        if self.unbind is not None:
            self.unbind()
        for each in self._connections:
            each.close()
        self._connections.clear()
        self.backlog = None
        self._forget()
        self._memory.in_flight.collect()

    def waiting_files(self) -> Iterable[FileDescription]:
        """Return the open files beside messages that nobody has received."""
        return [file for message in self._messages for file in message.files]

    def drop_files(self) -> None:
        """Close the open files beside messages that nobody can receive."""
        files = self.waiting_files()
        self._messages = deque(message._replace(files=()) for message in self._messages)
        close_all(files)

    def _forget(self) -> None:
        messages = tuple(self._messages)
        self._messages.clear()
        self._size_bytes = 0
        for message in messages:
            self._memory.give(len(message.data))
            close_all(message.files)

    def _raise_error(self) -> None:
        """Fail once where the other end was closed without having read everything."""
        if self._error:
            raise KernelError(self.take_error(), "the other end was closed before it had read everything")

    def _take(self) -> Message:
        message = self._messages.popleft()
        self._size_bytes -= len(message.data)
        self._memory.give(len(message.data))
        if self.peer is not None:
            self.peer._departures += 1
        return message


def close_all(files: Iterable[FileDescription]) -> None:
    """Close files that nobody has received."""
    for each in files:
        each.close()


def new_socket(kind: int, caller: Callable[[], Sender], memory: SocketMemory) -> UnixSocket:
    """Return a socket without a name or a connection. Raises KernelError(ESOCKTNOSUPPORT) for another kind."""
    if kind not in {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET}:
        raise KernelError(ESOCKTNOSUPPORT, f"socket of kind {kind}: wanted 1, 2, 3 or 5")
    return UnixSocket(SOCK_DGRAM if kind == SOCK_RAW else kind, caller, memory)


def make_socketpair(
    vfs: Vfs,
    kind: int,
    flags: int = 0,
    caller: Callable[[], Sender] = lambda: KERNEL,
    memory: SocketMemory | None = None,
) -> tuple[FileDescription, FileDescription]:
    """Return two connected sockets; `flags` may be O_NONBLOCK. Raises KernelError: ESOCKTNOSUPPORT, EINVAL."""
    memory = memory or SocketMemory()
    one, other = new_socket(kind, caller, memory), new_socket(kind, caller, memory)
    one.peer, other.peer = other, one
    one.peer_sender = other.peer_sender = caller()
    return open_socket(vfs, one, flags), open_socket(vfs, other, flags)


def open_socket(vfs: Vfs, socket: UnixSocket, flags: int = 0) -> FileDescription:
    """Return an open file for a socket; `flags` may be O_NONBLOCK. Raises KernelError(EINVAL) for others."""
    if flags & ~O_NONBLOCK:
        raise KernelError(EINVAL, f"socket with flags {flags:#o}: wanted none but O_NONBLOCK")
    dentry = anonymous_dentry(vfs, SOCKFS, stat.S_IFSOCK | 0o777, "socket:[%d]")
    return FileDescription(vfs, dentry, socket, O_RDWR | flags, target=socket, device=socket)

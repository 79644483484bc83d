"""Message queues of POSIX (ipc/mqueue.c): named, each message with a priority, opened as files."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EACCES, EAGAIN, EEXIST, EINVAL, EMFILE, ENAMETOOLONG, ENOENT, ENOSPC, EPERM
from typing import Final, NamedTuple

from dcss.abi.ext2 import NAME_LEN
from dcss.errors import KernelError
from vmguest.credentials import MAY_READ, MAY_WRITE, Credentials
from vmguest.fs.anonymous import ANON_INODEFS, anonymous_dentry
from vmguest.fs.file import StreamFile
from vmguest.fs.namei import Vfs
from vmguest.fs.open import O_ACCMODE, O_CREAT, O_EXCL, O_RDWR, O_WRONLY, FileDescription
from vmguest.fs.poll import READABLE, WRITABLE

DEFAULT_MESSAGES, DEFAULT_MESSAGE_BYTES = 10, 8192
MOST_PRIORITIES: Final = 32_768
_MOST_QUEUES: Final = 256
_PRIVILEGED_MESSAGES, _PRIVILEGED_MESSAGE_BYTES = 65_536, 16 << 20  # HARD_MSGMAX, HARD_MSGSIZEMAX
_MOST_BYTES: Final = 819_200  # of all queues of a user, as if they were full (RLIMIT_MSGQUEUE)
_MESSAGE_BYTES: Final = 112  # what one costs beside its text


class Limits(NamedTuple):
    """How many messages a queue holds, and how many bytes each may have."""

    messages: int = DEFAULT_MESSAGES
    message_bytes: int = DEFAULT_MESSAGE_BYTES

    @property
    def charged_bytes(self) -> int:
        """What a queue counts for its owner."""
        return self.messages * (self.message_bytes + _MESSAGE_BYTES)


@dataclass(slots=True, eq=False)
class PosixQueue:
    """One queue; `messages` are (-priority, order of arrival, text), the next to take first."""

    limits: Limits
    mode: int
    owner: Credentials
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    arrivals: int = 0
    receivers: int = 0  # who waits for a message
    opens: int = 0
    named: bool = True
    notify: Callable[[], None] | None = None  # called when a message comes to an empty queue
    notified: object = None  # the process that asked for that

    def put(self, text: bytes, priority: int) -> None:
        """Add a message. Raises KernelError(EAGAIN) without room."""
        if len(self.messages) >= self.limits.messages:
            raise KernelError(EAGAIN, f"message queue: {self.limits.messages} messages wait")
        self.arrivals += 1
        insort(self.messages, (-priority, self.arrivals, text))
        if len(self.messages) == 1 and not self.receivers and self.notify is not None:
            notify = self.notify
            self.notify = self.notified = None
            notify()

    def take(self) -> tuple[int, bytes]:
        """Take the oldest message of the highest priority; return that and its text. Raises KernelError(EAGAIN)."""
        if not self.messages:
            raise KernelError(EAGAIN, "message queue: no message waits")
        priority, _, text = self.messages.pop(0)
        return -priority, text

    def check(self, user: Credentials, wanted: int) -> None:
        """Raise KernelError(EACCES) where a user may not read or write it."""
        shift = 6 if user.uid == self.owner.uid else 3 if user.in_group(self.owner.gid) else 0
        if not user.privileged and wanted & ~(self.mode >> shift):
            raise KernelError(EACCES, f"message queue of mode {self.mode:#o}")


class PosixQueueFile(StreamFile):
    """One open of a queue, which system calls of its own read and write."""

    def __init__(self, queue: PosixQueue) -> None:
        self.queue = queue
        queue.opens += 1

    def read(self, position: int, buffer: memoryview) -> int:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"read of {len(buffer)} bytes at {position} of a message queue")

    def write(self, position: int, data: bytes | memoryview) -> int:
        """Refuse. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"write of {len(data)} bytes at {position} of a message queue")

    def poll(self) -> int:
        """Return whether a message waits, and whether there is room for one more."""
        queue = self.queue
        return (READABLE if queue.messages else 0) | (WRITABLE if len(queue.messages) < queue.limits.messages else 0)

    def activity(self) -> object:
        """Return what changes with each message."""
        return self.queue.arrivals, len(self.queue.messages)

    def close(self) -> None:
        """Count one open less."""
        self.queue.opens -= 1


class PosixQueues:
    """The queues of a guest by their names."""

    def __init__(self, storage_bytes: int) -> None:
        self._queues: dict[bytes, PosixQueue] = {}
        self._all: list[PosixQueue] = []  # also those that have lost their names, and are open still
        self._most_bytes = storage_bytes // 32

    def open(self, vfs: Vfs, name: bytes, flags: int, mode: int, limits: Limits | None) -> FileDescription:
        """Open a queue, or make it.

        Raises KernelError: ENOENT, EEXIST, EACCES, EINVAL, ENAMETOOLONG, ENOSPC, EMFILE.
        """
        _check_name(name)
        found = self._queues.get(name)
        if found is None:
            if not flags & O_CREAT:
                raise KernelError(ENOENT, f"message queue {name!r}: there is none")
            found = self._make(name, mode & ~vfs.user.umask & 0o777, vfs.user, limits or Limits())
        elif flags & O_CREAT and flags & O_EXCL:
            raise KernelError(EEXIST, f"message queue {name!r}: is there")
        else:
            access = flags & O_ACCMODE
            wanted = (MAY_WRITE if access else 0) | (0 if access == O_WRONLY else MAY_READ)
            if access > O_RDWR:
                raise KernelError(EINVAL, f"mq_open with flags {flags:#o}")
            found.check(vfs.user, wanted)
        file = PosixQueueFile(found)
        dentry = anonymous_dentry(vfs, ANON_INODEFS, found.mode, "/" + name.decode(errors="surrogateescape"))
        return FileDescription(vfs, dentry, file, flags & ~(O_CREAT | O_EXCL), target=file, device=file)

    def unlink(self, name: bytes, user: Credentials) -> None:
        """Take a queue's name. Raises KernelError: ENOENT, EPERM where it is another user's, EACCES."""
        _check_name(name)
        found = self._queues.get(name)
        if found is None:
            raise KernelError(ENOENT, f"message queue {name!r}: there is none")
        if not user.privileged and user.uid != found.owner.uid:
            raise KernelError(EPERM, f"message queue {name!r}: not yours")
        del self._queues[name]
        found.named = False

    def _make(self, name: bytes, mode: int, user: Credentials, limits: Limits) -> PosixQueue:
        most = (_PRIVILEGED_MESSAGES, _PRIVILEGED_MESSAGE_BYTES) if user.privileged else Limits()
        if not 0 < limits.messages <= most[0] or not 0 < limits.message_bytes <= most[1]:
            raise KernelError(EINVAL, f"a message queue of {limits.messages} times {limits.message_bytes} bytes")
        self._all = [each for each in self._all if each.named or each.opens]
        if len(self._queues) >= _MOST_QUEUES and not user.privileged:
            raise KernelError(ENOSPC, f"there are {_MOST_QUEUES} message queues")
        charged = [each for each in self._all if each.owner.uid == user.uid]
        room_bytes = min(
            _MOST_BYTES - sum(each.limits.charged_bytes for each in charged),
            self._most_bytes - sum(each.limits.charged_bytes for each in self._all),
        )
        if limits.charged_bytes > room_bytes:
            raise KernelError(EMFILE, f"message queues of user {user.uid}: there is room for {room_bytes} bytes more")
        made = self._queues[name] = PosixQueue(limits, mode, user)
        self._all.append(made)
        return made


def _check_name(name: bytes) -> None:
    if len(name) > NAME_LEN:
        raise KernelError(ENAMETOOLONG, f"message queue: name of {len(name)} bytes")
    if b"/" in name or name in {b"", b".", b".."}:
        raise KernelError(EACCES if name else ENOENT, f"message queue {name!r}: no name that one can have")

"""Messages of System V (ipc/msg.c): queues of messages that have a type, by which they are taken."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import EAGAIN, EINVAL, ENOMEM, ENOMSG, ENOSPC
from time import time
from typing import ClassVar, Final, NamedTuple

from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.s390x.ipc_objects import IpcObject, IpcTable

MOST_QUEUES, MOST_MESSAGE_BYTES, QUEUE_BYTES = 32_000, 8192, 16_384  # MSGMNI, MSGMAX, MSGMNB
_STORAGE_FRACTION: Final = 32  # of storage, that all messages may have
_MESSAGE_BYTES: Final = 48  # what one costs beside its text (struct msg_msg)


class Message(NamedTuple):
    """One message."""

    type: int
    text: bytes


class Wanted(NamedTuple):
    """Which message is taken: the first for type 0, of a type above 0, and the lowest one up to -type below."""

    type: int
    except_type: bool = False  # any but those of the type

    def choose(self, messages: list[Message]) -> int | None:
        """Return the place of the message to take, None where there is none."""
        places: Iterator[int] = iter(range(len(messages)))
        if self.type > 0:
            places = (at for at in places if (messages[at].type == self.type) != self.except_type)
        elif self.type < 0:
            places = (at for at in places if messages[at].type <= -self.type)
            return min(places, key=lambda at: messages[at].type, default=None)
        return next(places, None)


@dataclass(slots=True, eq=False)
class MessageQueue(IpcObject):
    """One queue; the times are in seconds since 1970."""

    kind: ClassVar[str] = "message queue"

    most_bytes: int = QUEUE_BYTES
    messages: list[Message] = field(default_factory=list)
    used_bytes: int = 0
    sender: int = 0
    receiver: int = 0
    sent: int = 0
    received: int = 0

    def has_room(self, size_bytes: int) -> bool:
        """Return whether a message of so many bytes fits."""
        return self.used_bytes + size_bytes <= self.most_bytes and len(self.messages) < self.most_bytes

    def put(self, message: Message, pid: int) -> None:
        """Add a message. Raises KernelError(EAGAIN) without room."""
        if not self.has_room(len(message.text)):
            raise KernelError(
                EAGAIN, f"message queue {self.number}: holds {self.used_bytes} of {self.most_bytes} bytes"
            )
        self.messages.append(message)
        self.used_bytes += len(message.text)
        self.sender, self.sent = pid, int(time())

    def find(self, wanted: Wanted) -> Message:
        """Return the message that `take` would take. Raises KernelError(ENOMSG)."""
        at = wanted.choose(self.messages)
        if at is None:
            raise KernelError(ENOMSG, f"message queue {self.number}: no message of type {wanted.type}")
        return self.messages[at]

    def take(self, message: Message, pid: int) -> None:
        """Take out a message that `find` has found."""
        self.messages.remove(message)
        self.used_bytes -= len(message.text)
        self.receiver, self.received = pid, int(time())


class MessageQueues(IpcTable[MessageQueue]):
    """The queues of a guest, whose messages may take a part of its storage."""

    def __init__(self, storage_bytes: int) -> None:
        super().__init__(MessageQueue.kind)
        self._most_bytes = storage_bytes // _STORAGE_FRACTION

    @property
    def messages(self) -> int:
        """How many there are in all queues."""
        return sum(len(each.messages) for each in self)

    @property
    def used_bytes(self) -> int:
        """How many bytes their texts have."""
        return sum(each.used_bytes for each in self)

    def make(self, user: Credentials, key: int, flags: int) -> int:
        """Return the id of a key's queue, or of a new one (msgget). Raises KernelError: ENOSPC and as `get`."""

        def made(number: int) -> MessageQueue:
            if len(self) >= MOST_QUEUES:
                raise KernelError(ENOSPC, f"there are {MOST_QUEUES} message queues")
            return MessageQueue(number, key, flags & 0o777, user, user)

        return self.get(user, key, flags, lambda _: None, made)

    def check_size(self, size_bytes: int) -> None:
        """Raise KernelError where a message is too long (EINVAL) or the guest has no storage for it (ENOMEM)."""
        if not 0 <= size_bytes <= MOST_MESSAGE_BYTES:
            raise KernelError(EINVAL, f"a message of {size_bytes} bytes, wanted at most {MOST_MESSAGE_BYTES}")
        if self.used_bytes + (self.messages + 1) * _MESSAGE_BYTES + size_bytes > self._most_bytes:
            raise KernelError(ENOMEM, f"messages may have {self._most_bytes} bytes")

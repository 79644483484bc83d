"""System calls on messages of System V."""

import struct
from errno import E2BIG, EAGAIN, EINVAL, ENOMSG, EPERM
from typing import Final

from dcss.errors import KernelError
from vmguest.s390x.calls.ipc_structures import (
    IPC_64,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    find_again,
    pack_permission,
    read_permission,
)
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.ipc_objects import IPC_NOWAIT, MAY_CHANGE, MAY_READ
from vmguest.s390x.message_queues import (
    MOST_MESSAGE_BYTES,
    MOST_QUEUES,
    QUEUE_BYTES,
    Message,
    MessageQueue,
    Wanted,
)
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.system import System

CALLS = CallGroup()
_TYPE: Final = struct.Struct(">q")
# struct msqid64_ds behind what all kinds have: times; bytes, messages, most bytes; who sent and received last.
_MSQID_DS: Final = struct.Struct(">3q3Qii16x")
_MOST_BYTES_AT: Final = 88  # msg_qbytes in that structure
_MSGINFO: Final = struct.Struct(">7iH2x")
_SEGMENT_BYTES, _SEGMENTS = 16, 0xFFFF  # MSGSSZ, MSGSEG: told, and meaning nothing
_MSG_NOERROR, _MSG_EXCEPT, _MSG_COPY = 0o10000, 0o20000, 0o40000
_MSG_STAT, _MSG_INFO, _MSG_STAT_ANY = 11, 12, 13
_OF_QUEUES: Final = frozenset({IPC_RMID, IPC_SET, IPC_STAT, _MSG_STAT, _MSG_STAT_ANY})


@CALLS.add("int", "flags")
def msgget(system: System, thread: Thread, key: int, flags: int) -> int:
    """Find or make a queue of messages."""
    return system.queues.make(thread.process.credentials, key, flags)


def _queue(system: System, thread: Thread, number: int, wanted: int) -> MessageQueue:
    """Return a queue that the caller may use. Raises KernelError: EINVAL, EACCES, EIDRM: removed during the wait."""
    found = find_again(system.queues, thread, number)
    found.check(thread.process.credentials, wanted)
    return found


@CALLS.add("int", "address", "long", "flags")
def msgsnd(system: System, thread: Thread, number: int, message: int, size_bytes: int, flags: int) -> int:
    """Send a message, or wait until there is room for it."""
    space, queues = thread.process.space, system.queues
    queues.check_size(size_bytes)
    (kind,) = _TYPE.unpack(space.read(message, _TYPE.size))
    if kind < 1 or number < 0:
        raise KernelError(EINVAL, f"a message of type {kind}")
    text = space.read(message + _TYPE.size, size_bytes)
    queue = _queue(system, thread, number, MAY_CHANGE)
    try:
        queue.put(Message(kind, text), thread.process.pid)
    except KernelError as error:
        if error.errno != EAGAIN or flags & IPC_NOWAIT:
            raise
        raise WaitError(lambda: queue not in queues or queue.has_room(size_bytes), restart=False) from error
    return 0


@CALLS.add("int", "address", "long", "long", "flags")
def msgrcv(system: System, thread: Thread, number: int, buffer: int, size_bytes: int, kind: int, flags: int) -> int:
    """Take a message, or wait for one."""
    if size_bytes < 0 or number < 0:
        raise KernelError(EINVAL, f"a message of {size_bytes} bytes from queue {number}")
    if flags & _MSG_COPY and (flags & _MSG_EXCEPT or not flags & IPC_NOWAIT):
        raise KernelError(EINVAL, f"msgrcv with MSG_COPY and flags {flags:#o}")
    queue, queues = _queue(system, thread, number, MAY_READ), system.queues
    wanted = Wanted(kind, bool(flags & _MSG_EXCEPT))
    try:
        found = _copied(queue, kind) if flags & _MSG_COPY else queue.find(wanted)
    except KernelError as error:
        if error.errno != ENOMSG or flags & IPC_NOWAIT:
            raise
        raise WaitError(
            lambda: queue not in queues or wanted.choose(queue.messages) is not None, restart=False
        ) from error
    if len(found.text) > size_bytes and not flags & _MSG_NOERROR:
        raise KernelError(E2BIG, f"the message has {len(found.text)} bytes, and there is room for {size_bytes}")
    if not flags & _MSG_COPY:
        queue.take(found, thread.process.pid)
    text = found.text[:size_bytes]
    thread.process.space.write(buffer, _TYPE.pack(found.type) + text)
    return len(text)


def _copied(queue: MessageQueue, at: int) -> Message:
    """Return the message at a place. Raises KernelError(ENOMSG)."""
    if not 0 <= at < len(queue.messages):
        raise KernelError(ENOMSG, f"message queue {queue.number}: has {len(queue.messages)} messages")
    return queue.messages[at]


@CALLS.add("int", "int", "address")
def msgctl(system: System, thread: Thread, number: int, command: int, buffer: int) -> int:
    """Tell what a queue is, change its owner, mode and size, or remove it."""
    command &= ~IPC_64
    space, user, queues = thread.process.space, thread.process.credentials, system.queues
    if command in {IPC_INFO, _MSG_INFO}:
        space.write(buffer, _information(system, in_use=command == _MSG_INFO))
        return queues.highest
    if command not in _OF_QUEUES:
        raise KernelError(EINVAL, f"msgctl {command}")
    queue = queues.find(number)
    if command not in {IPC_RMID, IPC_SET}:
        if command != _MSG_STAT_ANY:
            queue.check(user, MAY_READ)
        space.write(buffer, pack_permission(queue) + _packed(queue))
        return 0 if command == IPC_STAT else number
    queue.check_owner(user)
    if command == IPC_RMID:
        queues.remove(number)
        return 0
    most_bytes = int.from_bytes(space.read(buffer + _MOST_BYTES_AT, 8))
    if most_bytes > QUEUE_BYTES and not user.privileged:
        raise KernelError(EPERM, f"a queue of {most_bytes} bytes, wanted at most {QUEUE_BYTES}")
    queue.give(*read_permission(space, buffer))
    queue.most_bytes = most_bytes
    return 0


def _packed(queue: MessageQueue) -> bytes:
    times = queue.sent, queue.received, queue.changed
    sizes = queue.used_bytes, len(queue.messages), queue.most_bytes
    return _MSQID_DS.pack(*times, *sizes, queue.sender, queue.receiver)


def _information(system: System, *, in_use: bool) -> bytes:
    """Return struct msginfo: limits; with `in_use`, how much there is in place of three of them."""
    pool, entries, headers = MOST_QUEUES * QUEUE_BYTES // 1024, QUEUE_BYTES, QUEUE_BYTES
    if in_use:
        queues = system.queues
        pool, entries, headers = len(queues), queues.messages, queues.used_bytes
    limits = MOST_MESSAGE_BYTES, QUEUE_BYTES, MOST_QUEUES
    return _MSGINFO.pack(pool, entries, *limits, _SEGMENT_BYTES, headers, _SEGMENTS)

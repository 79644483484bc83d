"""System calls on message queues of POSIX."""

from collections.abc import Callable
from errno import EAGAIN, EBADF, EBUSY, EINVAL, EMSGSIZE, ETIMEDOUT
from struct import Struct

from dcss.errors import KernelError
from vmguest.fs.open import O_ACCMODE, O_NONBLOCK, O_RDONLY, O_WRONLY, FileDescription
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import UINT
from vmguest.s390x.calls.times import deadline_in, is_over, read_timeout
from vmguest.s390x.posix_queues import MOST_PRIORITIES, Limits, PosixQueueFile
from vmguest.s390x.process import Process, Thread, WaitError
from vmguest.s390x.signals import SIGRTMAX, SignalInfo
from vmguest.s390x.system import System

CALLS = CallGroup()
_ATTRIBUTES = Struct(">4q32x")  # flags, messages, bytes of each, messages that wait
_EVENT = Struct(">8sii")  # sigevent: value, signal, kind
_SIGEV_SIGNAL, _SIGEV_NONE = 0, 1
_SI_MESGQ = -3


@CALLS.add("path", "open", "mode", "address")
def mq_open(system: System, thread: Thread, name: int, flags: int, mode: int, attributes: int) -> int:
    """Open a queue, or make one."""
    space, limits = thread.process.space, None
    if attributes:
        _, messages, message_bytes, _ = _ATTRIBUTES.unpack(space.read(attributes, _ATTRIBUTES.size))
        limits = Limits(messages, message_bytes)
    opened = system.posix_queues.open(system.vfs, space.string(name), flags, mode, limits)
    return thread.process.files.install(opened, close_on_exec=True)


@CALLS.add("path")
def mq_unlink(system: System, thread: Thread, name: int) -> int:
    """Take a queue's name; it goes with its last open."""
    system.posix_queues.unlink(thread.process.space.string(name), thread.process.credentials)
    return 0


@CALLS.add("fd", "data", "size", "uint", "address")
def mq_timedsend(
    system: System, thread: Thread, number: int, text: int, size_bytes: int, priority: int, timeout: int
) -> int:
    """Add a message, or wait for room."""
    if priority >= MOST_PRIORITIES:
        raise KernelError(EINVAL, f"mq_timedsend with priority {priority}")
    seconds = _seconds_until(system, thread, timeout)
    opened, file = _open_for(thread, number, O_RDONLY)
    queue = file.queue
    if size_bytes > queue.limits.message_bytes:
        raise KernelError(EMSGSIZE, f"a message of {size_bytes} bytes, wanted at most {queue.limits.message_bytes}")
    content = thread.process.space.read(text, size_bytes)
    try:
        queue.put(content, priority)
    except KernelError as error:
        raise _or_wait(error, thread, opened, seconds, lambda: len(queue.messages) < queue.limits.messages) from error
    return 0


@CALLS.add("fd", "address", "size", "address", "address")
def mq_timedreceive(
    system: System, thread: Thread, number: int, buffer: int, size_bytes: int, priority: int, timeout: int
) -> int:
    """Take a message, or wait for one."""
    seconds = _seconds_until(system, thread, timeout)
    opened, file = _open_for(thread, number, O_WRONLY)
    queue = file.queue
    if size_bytes < queue.limits.message_bytes:
        raise KernelError(EMSGSIZE, f"room for {size_bytes} bytes, wanted {queue.limits.message_bytes}")
    try:
        found, text = queue.take()
    except KernelError as error:
        waits = _or_wait(error, thread, opened, seconds, lambda: bool(queue.messages))
        if isinstance(waits, WaitError) and thread.withdraw is None:
            queue.receivers += 1

            def withdraw() -> None:
                queue.receivers -= 1

            thread.withdraw = withdraw
        raise waits from error
    space = thread.process.space
    space.write(buffer, text)
    if priority:
        space.write(priority, UINT.pack(found))
    return len(text)


@CALLS.add("fd", "address")
def mq_notify(system: System, thread: Thread, number: int, event: int) -> int:
    """Be told once when a message comes to the queue while it is empty, or be told no more."""
    process = thread.process
    if not event:
        queue = _open_for(thread, number, None)[1].queue
        if queue.notified is process:
            queue.notify = queue.notified = None
        return 0
    value, signal, kind = _EVENT.unpack(process.space.read(event, _EVENT.size))
    if kind not in {_SIGEV_SIGNAL, _SIGEV_NONE} or (kind == _SIGEV_SIGNAL and not 0 <= signal <= SIGRTMAX):
        raise KernelError(EINVAL, f"mq_notify: event of kind {kind}, signal {signal}")  # threads need a netlink socket
    queue = _open_for(thread, number, None)[1].queue
    if isinstance(queue.notified, Process) and queue.notified.ended is None:
        raise KernelError(EBUSY, f"mq_notify: process {queue.notified.pid} is told of that queue")

    def notify() -> None:
        sender = system.scheduler.current
        if signal and kind == _SIGEV_SIGNAL and sender is not None:
            sent = SignalInfo.sent(signal, sender.process.pid, sender.process.credentials.uid, _SI_MESGQ)
            system.delivery.send(process, sent._replace(fields=sent.fields + value))

    queue.notify, queue.notified = notify, process
    return 0


@CALLS.add("fd", "address", "address")
def mq_getsetattr(_system: System, thread: Thread, number: int, new: int, old: int) -> int:
    """Tell what a queue is, and change whether it waits."""
    space = thread.process.space
    flags = None
    if new:
        (flags, *_) = _ATTRIBUTES.unpack(space.read(new, _ATTRIBUTES.size))
        if flags & ~O_NONBLOCK:
            raise KernelError(EINVAL, f"mq_getsetattr with flags {flags:#x}")
    opened, file = _open_for(thread, number, None)
    queue = file.queue
    if old:
        found = opened.flags & O_NONBLOCK, *queue.limits, len(queue.messages)
        space.write(old, _ATTRIBUTES.pack(*found))
    if flags is not None:
        opened.flags = opened.flags & ~O_NONBLOCK | flags
    return 0


def _open_for(thread: Thread, number: int, other_access: int | None) -> tuple[FileDescription, PosixQueueFile]:
    """Return an open queue. Raises KernelError(EBADF): it is none, or opened for `other_access` only."""
    opened = thread.process.files.get(number)
    if not isinstance(opened.file, PosixQueueFile) or opened.flags & O_ACCMODE == other_access:
        raise KernelError(EBADF, f"descriptor {number}: no message queue that is open for that")
    return opened, opened.file


def _seconds_until(system: System, thread: Thread, address: int) -> float | None:
    """Return how long it is to a time of day, None where none is given. Raises KernelError: EINVAL, EFAULT."""
    due = read_timeout(thread, address)
    return None if due is None else max(0.0, due - system.now())


def _or_wait(
    error: KernelError, thread: Thread, opened: FileDescription, seconds: float | None, ready: Callable[[], bool]
) -> Exception:
    """Return what to raise for an error of a queue: EAGAIN is a wait, unless the open does not wait."""
    if error.errno != EAGAIN or opened.flags & O_NONBLOCK:
        return error
    deadline = deadline_in(thread, seconds)
    return (
        KernelError(ETIMEDOUT, "message queue: the time is over") if is_over(deadline) else WaitError(ready, deadline)
    )

"""All system calls by their numbers."""

from vmguest.s390x.calls import (
    events,
    files,
    foreign_memory,
    information,
    ipc,
    locks,
    memory,
    message_queues,
    messages,
    mounts,
    names,
    open_how,
    pid_files,
    polling,
    posix_queues,
    priorities,
    processes,
    processors,
    semaphores,
    shared_segments,
    signal_calls,
    socketcall,
    sockets,
    times,
)
from vmguest.s390x.calls.registry import SystemCall

_GROUPS = (
    *(events, files, foreign_memory, information, ipc, locks, memory, message_queues, messages, mounts, names),
    *(
        open_how,
        pid_files,
        polling,
        posix_queues,
        priorities,
        processes,
        processors,
        semaphores,
        shared_segments,
        signal_calls,
    ),
    *(socketcall, sockets, times),
)
CALLS: dict[int, SystemCall] = {call.number: call for group in _GROUPS for call in group.CALLS.calls}

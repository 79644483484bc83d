"""All system calls by their numbers."""

from vmguest.s390x.calls import files, information, memory, names, polling, processes, signal_calls, times
from vmguest.s390x.calls.registry import SystemCall

_GROUPS = (files, information, memory, names, polling, processes, signal_calls, times)
CALLS: dict[int, SystemCall] = {call.number: call for group in _GROUPS for call in group.CALLS.calls}

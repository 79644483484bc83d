"""socketcall(2), by which glibc makes all calls on sockets on s390x."""

from errno import EINVAL
from typing import Final

from dcss.errors import KernelError
from vmguest.s390x.calls import messages, sockets
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import ULONG
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
# Which call it makes for each of its numbers (linux/net.h); send and recv are sendto and recvfrom, accept is accept4.
_BY_NUMBER: Final = {
    1: "socket",
    2: "bind",
    3: "connect",
    4: "listen",
    5: "accept4",
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
    16: "sendmsg",
    17: "recvmsg",
    18: "accept4",
    19: "recvmmsg",
    20: "sendmmsg",
}
_SHORT: Final = {5: 3, 9: 4, 10: 4}  # those that have fewer parameters than the call that is made
_CALLS_BY_NAME: Final = {call.name: call for group in (sockets, messages) for call in group.CALLS.calls}


@CALLS.add("int", "address")
def socketcall(system: System, thread: Thread, number: int, parameters: int) -> int:
    """Make a call on sockets by its number among them; the parameters are doublewords in memory."""
    name = _BY_NUMBER.get(number)
    if name is None:
        raise KernelError(EINVAL, f"socketcall {number}")
    call = _CALLS_BY_NAME[name]
    count = _SHORT.get(number, len(call.kinds))
    packed = thread.process.space.read(parameters, count * ULONG.size)
    values = [value for (value,) in ULONG.iter_unpack(packed)]
    return call(system, thread, [0, 0, *values, *(0,) * (len(call.kinds) - count)]) or 0

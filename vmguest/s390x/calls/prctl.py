"""prctl(2): what a process and its threads are (kernel/sys.c, security/commoncap.c)."""

from collections.abc import Callable
from errno import EINVAL, EPERM
from typing import Final

from dcss.errors import KernelError
from vmguest.identity import CAP_SETPCAP, LAST_CAPABILITY
from vmguest.s390x.calls.identity import take_identity
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import INT
from vmguest.s390x.process import Thread
from vmguest.s390x.signals import SIGRTMAX
from vmguest.s390x.system import System

CALLS = CallGroup()
Arguments = tuple[int, int, int, int]
_COMM_BYTES: Final = 16
_SLACK_NS: Final = 50_000
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_LOWER, _AMBIENT_CLEAR_ALL = 1, 2, 3, 4


def _set_death_signal(_system: System, thread: Thread, arguments: Arguments) -> int:
    number = arguments[0]
    if number > SIGRTMAX:
        raise KernelError(EINVAL, f"signal {number}: there is none")
    thread.process.death_signal = number
    return 0


def _get_death_signal(_system: System, thread: Thread, arguments: Arguments) -> int:
    thread.process.space.write(arguments[0], INT.pack(thread.process.death_signal))
    return 0


def _get_dumpable(_system: System, thread: Thread, _arguments: Arguments) -> int:
    return int(thread.process.dumpable)


def _set_dumpable(_system: System, thread: Thread, arguments: Arguments) -> int:
    thread.process.dumpable = _flag(arguments[0])
    return 0


def _get_keeps(_system: System, thread: Thread, _arguments: Arguments) -> int:
    return int(thread.process.identity.keeps)


def _set_keeps(_system: System, thread: Thread, arguments: Arguments) -> int:
    thread.process.identity = thread.process.identity._replace(keeps=_flag(arguments[0]))
    return 0


def _set_name(_system: System, thread: Thread, arguments: Arguments) -> int:
    process = thread.process
    thread.name = process.space.read(arguments[0], _COMM_BYTES).split(b"\0")[0][: _COMM_BYTES - 1]
    if thread.tid == process.pid:
        process.set_name(thread.name)
    return 0


def _get_name(_system: System, thread: Thread, arguments: Arguments) -> int:
    thread.process.space.write(arguments[0], thread.name.ljust(_COMM_BYTES, b"\0"))
    return 0


def _has_bounding(_system: System, thread: Thread, arguments: Arguments) -> int:
    return thread.process.identity.capabilities.bounding >> _capability(arguments[0]) & 1


def _drop_bounding(system: System, thread: Thread, arguments: Arguments) -> int:
    identity = thread.process.identity
    has = identity.capabilities
    if not has.has(CAP_SETPCAP):
        raise KernelError(EPERM, "PR_CAPBSET_DROP: wanted CAP_SETPCAP")
    bounding = has.bounding & ~(1 << _capability(arguments[0]))
    return take_identity(system, thread, identity._replace(capabilities=has._replace(bounding=bounding)))


def _change_ambient(system: System, thread: Thread, arguments: Arguments) -> int:
    what, number, *rest = arguments
    identity = thread.process.identity
    has = identity.capabilities
    if any(rest) or (what == _AMBIENT_CLEAR_ALL and number):
        raise KernelError(EINVAL, f"PR_CAP_AMBIENT {what}: wanted zeros behind it")
    if what == _AMBIENT_CLEAR_ALL:
        return take_identity(system, thread, identity._replace(capabilities=has._replace(ambient=0)))
    mask = 1 << _capability(number)
    if what == _AMBIENT_IS_SET:
        return int(bool(has.ambient & mask))
    if what == _AMBIENT_RAISE:
        if not has.permitted & has.inheritable & mask:
            raise KernelError(EPERM, f"capability {number}: wanted one that is permitted and inheritable")
        ambient = has.ambient | mask
    elif what == _AMBIENT_LOWER:
        ambient = has.ambient & ~mask
    else:
        raise KernelError(EINVAL, f"PR_CAP_AMBIENT {what}: wanted 1 to 4")
    return take_identity(system, thread, identity._replace(capabilities=has._replace(ambient=ambient)))


def _set_no_new_privileges(_system: System, thread: Thread, arguments: Arguments) -> int:
    if arguments != (1, 0, 0, 0):
        raise KernelError(EINVAL, "PR_SET_NO_NEW_PRIVS: wanted 1, and zeros behind it")
    thread.process.identity = thread.process.identity._replace(no_new_privileges=True)
    return 0


def _get_no_new_privileges(_system: System, thread: Thread, arguments: Arguments) -> int:
    if any(arguments):
        raise KernelError(EINVAL, "PR_GET_NO_NEW_PRIVS: wanted zeros behind it")
    return int(thread.process.identity.no_new_privileges)


def _always(value: int) -> Callable[[System, Thread, Arguments], int]:
    """Return an option that is what it is, whatever was set."""
    return lambda _system, _thread, _arguments: value


_OPTIONS: Final[dict[int, Callable[[System, Thread, Arguments], int]]] = {
    1: _set_death_signal,
    2: _get_death_signal,
    3: _get_dumpable,
    4: _set_dumpable,
    7: _get_keeps,
    8: _set_keeps,
    13: _always(0),  # PR_GET_TIMING: PR_TIMING_STATISTICAL
    15: _set_name,
    16: _get_name,
    21: _always(0),  # PR_GET_SECCOMP
    23: _has_bounding,
    24: _drop_bounding,
    27: _always(0),  # PR_GET_SECUREBITS
    29: _always(0),  # PR_SET_TIMERSLACK: timers here have none
    30: _always(_SLACK_NS),  # PR_GET_TIMERSLACK
    38: _set_no_new_privileges,
    39: _get_no_new_privileges,
    42: _always(0),  # PR_GET_THP_DISABLE
    47: _change_ambient,
}


@CALLS.add("int", "ulong", "ulong", "ulong", "ulong")
def prctl(system: System, thread: Thread, option: int, *arguments: int) -> int:
    """Change what a thread or process is, and tell it."""
    known = _OPTIONS.get(option)
    if known is None:
        raise KernelError(EINVAL, f"prctl {option}")
    first, second, third, fourth = arguments
    return known(system, thread, (first, second, third, fourth))


def _flag(value: int) -> bool:
    if value not in {0, 1}:
        raise KernelError(EINVAL, f"flag {value}: wanted 0 or 1")
    return bool(value)


def _capability(number: int) -> int:
    if number > LAST_CAPABILITY:
        raise KernelError(EINVAL, f"capability {number}: the last one is {LAST_CAPABILITY}")
    return number

"""Take a process's access to every file and port of the machine away for good (landlock(7))."""

import ctypes
import os
from struct import Struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # numbers of the system calls, on every kind of machine
_CREATE_RULESET_VERSION = 1
_ATTRIBUTES = Struct("=QQQ")  # struct landlock_ruleset_attr: access to files, to ports, and scopes
# What each version of the interface can restrict, by the first version that knows it.
_FILE_ACCESS = {1: 0x1FFF, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # all but the last ones: refer, truncate, ioctl
_PORT_ACCESS = {4: 0b11}  # bind and connect of TCP
_SCOPES = {6: 0b11}  # abstract sockets, and signals to other processes
_ATTRIBUTES_BYTES = {1: 8, 4: 16, 6: 24}
_syscall = ctypes.CDLL(None, use_errno=True).syscall


class NoFiles:
    """Refuses a process every path. It is made once, and applied in each process; open descriptors stay usable."""

    def __init__(self) -> None:
        try:
            version = _call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
        except OSError as error:
            self._attributes, self._text = b"", f"no Landlock: {error.strerror}"
            return
        attributes = _ATTRIBUTES.pack(*(_all(each, version) for each in (_FILE_ACCESS, _PORT_ACCESS, _SCOPES)))
        self._attributes = attributes[: _newest(_ATTRIBUTES_BYTES, version)]
        self._text = f"Landlock {version}: no file of the machine can be opened"

    def apply(self) -> str:
        """Apply it to this process for good; return what is in force, or why nothing is.

        dcss.host.seccomp.forbid_new_privileges comes first.
        """
        if self._attributes:
            try:
                ruleset = _call(_CREATE_RULESET, self._attributes, len(self._attributes), 0)
                try:
                    _call(_RESTRICT_SELF, ruleset, 0)
                finally:
                    os.close(ruleset)
            except OSError as error:
                return f"no Landlock: {error.strerror}"
        return self._text


def _all(rights: dict[int, int], version: int) -> int:
    return sum(bits for since, bits in rights.items() if since <= version)


def _newest(values: dict[int, int], version: int) -> int:
    return next(value for since, value in reversed(values.items()) if since <= version)


def _call(number: int, *arguments: int | bytes | None) -> int:
    values = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_syscall(ctypes.c_long(number), *values))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result

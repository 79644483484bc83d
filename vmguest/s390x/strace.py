"""A line for each system call, as strace(1) writes it, as far as the kinds of the parameters tell."""

import errno
import os
from collections.abc import Sequence

from vmguest.s390x.calls.numbers import NAMES
from vmguest.s390x.calls.registry import SystemCall
from vmguest.s390x.space import FaultError, UserSpace

_SHOWN_BYTES = 32
_ADDRESSES = frozenset({"brk", "mmap", "mremap", "shmat"})  # calls whose result is one
_AT_FDCWD = -100
_OPEN_FLAGS = (
    (0o100, "O_CREAT"), (0o200, "O_EXCL"), (0o400, "O_NOCTTY"), (0o1000, "O_TRUNC"), (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"), (0o200000, "O_DIRECTORY"), (0o400000, "O_NOFOLLOW"), (0o2000000, "O_CLOEXEC"),
)  # fmt: skip
_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")


def trace_line(  # noqa: PLR0917 - a line has as many parts
    pid: int,
    call: SystemCall | None,
    number: int,
    arguments: Sequence[int],
    result: int | None,
    space: UserSpace,
) -> bytes:
    """Return the line of a call that is over; `result` is None where it does not return."""
    name = NAMES.get(number, f"syscall_{number:#x}") if call is None else call.name
    kinds = ("ulong",) * 6 if call is None else call.kinds
    values = [value & 0xFFFF_FFFF_FFFF_FFFF for value in arguments[: len(kinds)]]
    words = []
    for index, (kind, value) in enumerate(zip(kinds, values, strict=False)):
        count = values[index + 1] if index + 1 < len(values) else 0
        if kind == "buffer":
            count = result if isinstance(result, int) and result > 0 else 0
        words.append(_word(kind, value, count, space))
    return f"[pid {pid:5}] {name}({', '.join(words)}) = {_result(name, result)}\n".encode(errors="surrogateescape")


def _word(  # noqa: PLR0911 - one for each kind
    kind: str, value: int, count: int, space: UserSpace
) -> str:
    signed = (value & 0xFFFF_FFFF) - (1 << 32 if value & 0x8000_0000 else 0)
    if kind == "at":
        return "AT_FDCWD" if signed == _AT_FDCWD else str(signed)
    if kind in {"int", "fd", "pid", "signal", "flags"}:
        return str(signed)
    if kind == "mode":
        return f"{value & 0xFFFF:#o}".replace("0o", "0")
    if kind == "open":
        names = [_ACCESS[signed & 3], *(name for bit, name in _OPEN_FLAGS if signed & bit)]
        return "|".join(names)
    if kind == "long":
        return str(value - (1 << 64) if value >> 63 else value)
    if kind in {"uint", "ulong", "size"}:
        return str(value)
    if kind == "path":
        return _text(space, value, None)
    if kind in {"data", "buffer"}:
        return _text(space, value, count)
    return f"{value:#x}" if value else "NULL"


def _text(space: UserSpace, address: int, count: int | None) -> str:
    if not address:
        return "NULL"
    try:
        data = space.string(address, 4096) if count is None else space.read(address, min(count, _SHOWN_BYTES))
    except (FaultError, OSError):
        return f"{address:#x}"
    shown = data if count is None else data[:_SHOWN_BYTES]
    escaped = "".join(_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:o}") for byte in shown)
    return f'"{escaped}"' + ("..." if count is not None and count > _SHOWN_BYTES else "")


_ESCAPES = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}


def _result(name: str, result: int | None) -> str:
    if result is None:
        return "?"
    if -4096 < result < 0:
        return f"-1 {errno.errorcode.get(-result, -result)} ({os.strerror(-result)})"
    return f"{result:#x}" if name in _ADDRESSES else str(result)

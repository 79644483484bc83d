"""A shell on a guest kernel inside the test process."""

import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from vmguest.kernel import Kernel
from vmguest.shell.shell import Shell


class Ran(NamedTuple):
    """What a line left behind."""

    status: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output by line."""
        return self.out.decode(errors="surrogateescape").splitlines()


def sh(
    kernel: Kernel,
    command: "str | bytes | list[str] | list[bytes]",
    *,
    kept_bytes: int = sys.maxsize,
    wait: Callable[[float], None] = time.sleep,
) -> Ran:
    """Run a line or words in a shell of its own; keep at most `kept_bytes` of each of its outputs."""
    out, err = bytearray(), bytearray()

    def keep(data: bytes | memoryview, into: bytearray) -> None:
        into.extend(data[: max(0, kept_bytes - len(into))])

    status = Shell(kernel, wait=wait).run(command, partial(keep, into=out), partial(keep, into=err))
    return Ran(status, bytes(out), err.decode(errors="surrogateescape"))


def out(kernel: Kernel, command: "str | bytes | list[str] | list[bytes]") -> bytes:
    """Run a line that must go well and say nothing on standard error; return its output."""
    ran = sh(kernel, command)
    assert (ran.status, ran.err) == (0, ""), ran
    return ran.out


@contextmanager
def small_stack(frames: int = 200) -> Iterator[int]:
    """Leave Python so many more frames; yield a depth that no recursion reaches, which is quicker than 1,000 levels."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + frames)
    try:
        yield frames + 50
    finally:
        sys.setrecursionlimit(before)

"""An error of the guest kernel itself, met while it serves a program: as Linux's oops, it is the end of that program.

Whatever the kernel was changing may be half changed: it says so in its log, and is tainted from then on.
"""

from collections.abc import Callable, Iterator
from traceback import walk_tb

from vmguest.kernel import Kernel
from vmguest.s390x.process import Process
from vmguest.s390x.signals import SIGSEGV

_MOST_FRAMES = 12


class Oops:
    """Ends programs for the kernel's errors. `end` ends a process by a signal."""

    def __init__(self, kernel: Kernel, end: Callable[[Process, int], None]) -> None:
        self._kernel, self._end = kernel, end

    def __call__(self, error: Exception, process: Process | None = None) -> None:
        """Log an error, and end the process that the kernel was serving, where there was one."""
        self._kernel.oopses += 1
        who = "kernel" if process is None else f"{process.name.decode(errors='replace')}[{process.pid}]"
        for line in _lines(error, self._kernel.oopses):
            self._kernel.log.log("err", f"{who}: {line}")
        if process is None:
            return
        try:
            self._end(process, SIGSEGV)
        except Exception as another:
            for line in _lines(another, self._kernel.oopses):
                self._kernel.log.log("err", f"{who}: {line}")


def _lines(error: Exception, number: int) -> Iterator[str]:
    """Yield what the log says: the error, and the functions that it came through, the outermost first."""
    yield f"Oops: the guest kernel failed: {type(error).__name__}: {error}"
    for frame, line in list(walk_tb(error.__traceback__))[-_MOST_FRAMES:]:
        yield f"Oops: {frame.f_globals.get('__name__')}:{line} in {frame.f_code.co_name}"
    yield f"Oops: the guest is tainted; it has failed {number} times since it booted"

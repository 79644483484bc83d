"""CP in the background: a process in a session of its own that goes on when its caller has ended."""

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from dcss.host.signals import interrupts_held
from dcss.progress import Progress
from dcss.system.startup import FAULT_STATUS, StartupNotifier, follow_startup, serve_reporting

_HIGHEST = 1 << 20


def start_in_background(serve: Callable[[StartupNotifier], None], progress: Progress) -> dict[str, Any]:
    """Run `serve` in a background process and return the document that it reports by `up`.

    What `serve` raises before that is raised here, as `follow_startup` does. An interrupt ends the process, and passes
    through once the process has taken everything down.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid: int | None = None

    def wait() -> int:
        assert pid is not None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    try:
        with interrupts_held():  # until its number is known
            pid = os.fork()
        if pid == 0:
            _become_background(serve, writing)
        os.close(writing)
        with open(reading, "rb") as lines:
            return follow_startup(lines, progress, pid, wait)
    except KeyboardInterrupt:
        if pid == 0:
            os._exit(FAULT_STATUS)  # what called us goes on in the parent alone
        if pid is not None:
            os.kill(pid, signal.SIGTERM)  # not reaped yet: no other process can have its number
            os.kill(pid, signal.SIGCONT)  # a process that was stopped takes no other signal before
            wait()
        raise


def _become_background(serve: Callable[[StartupNotifier], None], writing: int) -> NoReturn:
    """Leave the caller's session, terminal, directory and descriptors, run `serve`, and end the process."""
    status = FAULT_STATUS
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        pipe = 3
        if writing != pipe:
            os.dup2(writing, pipe, inheritable=False)
        os.closerange(pipe + 1, _HIGHEST)
        status = serve_reporting(serve, StartupNotifier(pipe))
    finally:
        os._exit(status)

"""CP in the background: a process in a session of its own that reports its startup to its caller through a pipe.

The pipe carries lines of JSON, one for each call of a Progress, and at last `up` with the system's status or `error`.
"""

import json
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

from dcss.errors import ConfigError, DcssError, ImageError, LaunchError
from dcss.host.process import how_ended
from dcss.host.signals import interrupts_held
from dcss.progress import Progress, Unit

_ERRORS: dict[str, type[DcssError]] = {"ConfigError": ConfigError, "ImageError": ImageError}
_FAULT = 70  # sysexits.h: EX_SOFTWARE
_HIGHEST = 1 << 20


class StartupNotifier:
    """CP's end of the pipe, and a Progress. It sends nothing after `up` or `error`, or once the caller has gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def phase(self, name: str, total: int | None = None, unit: Unit | None = None) -> None:
        """Report the beginning of a phase."""
        self._send("phase", name, total, unit)

    def advance(self, amount: int = 1) -> None:
        """Report progress in the phase."""
        self._send("advance", amount)

    def warn(self, text: str) -> None:
        """Report a warning."""
        self._send("warn", text)

    def close(self) -> None:
        """Do nothing: `up` and `error` end the last phase."""

    def up(self, form: dict[str, Any]) -> None:
        """Report that the system is up, and close the pipe."""
        self._send("up", form)
        self._close()

    def error(self, error: BaseException) -> None:
        """Report why there is no system, and close the pipe."""
        lines = list(error.findings) if isinstance(error, ConfigError) else [str(error) or repr(error)]
        fault = "" if isinstance(error, DcssError | OSError) else "".join(traceback.format_exception(error))
        self._send("error", type(error).__name__, lines, fault)
        self._close()

    def _send(self, *message: object) -> None:
        if self._descriptor < 0:
            return
        line = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def start_in_background(serve: Callable[[StartupNotifier], None], progress: Progress) -> dict[str, Any]:
    """Run `serve` in a background process and return the document that it reports by `up`.

    What `serve` raises before that is raised here, as ConfigError, ImageError or LaunchError. An interrupt ends the
    process, and passes through once the process has taken everything down.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid: int | None = None
    try:
        with interrupts_held():  # until its number is known
            pid = os.fork()
        if pid == 0:
            _become_background(serve, writing)
        os.close(writing)
        with open(reading, "rb") as lines:
            return _follow(lines, progress, pid)
    except KeyboardInterrupt:
        if pid == 0:
            os._exit(_FAULT)  # what called us goes on in the parent alone
        if pid is not None:
            os.kill(pid, signal.SIGTERM)  # not reaped yet: no other process can have its number
            os.kill(pid, signal.SIGCONT)  # a process that was stopped takes no other signal before
            os.waitpid(pid, 0)
        raise


def _follow(lines: BinaryIO, progress: Progress, pid: int) -> dict[str, Any]:
    for line in lines:
        kind, *arguments = json.loads(line)
        match kind:
            case "phase":
                progress.phase(*arguments)
            case "advance":
                progress.advance(*arguments)
            case "warn":
                progress.warn(*arguments)
            case "up":
                form: dict[str, Any] = arguments[0]
                return form
            case _:
                name, findings, fault = arguments
                os.waitpid(pid, 0)  # all that it had made is gone
                if fault:
                    raise RuntimeError(f"a fault in CP\n{fault}")
                raise _ERRORS.get(name, LaunchError)(*findings)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    raise LaunchError(
        f"CP (process {pid}) {how_ended(status)} before its system was up; its next start removes what it left"
    )


def _become_background(serve: Callable[[StartupNotifier], None], writing: int) -> NoReturn:
    """Leave the caller's session, terminal, directory and descriptors, run `serve`, and end the process."""
    status = _FAULT
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
        caller = StartupNotifier(pipe)
        try:
            serve(caller)
            status = 0
        except KeyboardInterrupt as error:
            caller.error(LaunchError(f"CP was interrupted before its system was up: {error!r}"))
            status = 0
        except BaseException as error:
            caller.error(error)
    finally:
        os._exit(status)

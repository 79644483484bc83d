"""How a CP that runs in a process of its own tells its startup to whoever started it: through a pipe.

The pipe carries lines of JSON, one for each call of a Progress, and at last `up` with the system's status or `error`.
"""

import json
import os
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from dcss.errors import ConfigError, DcssError, ImageError, LaunchError, PublishError, SpoolError, SystemBusyError
from dcss.host.process import how_ended
from dcss.progress import Progress, Unit

FAULT_STATUS = 70  # sysexits.h: EX_SOFTWARE
# The errors that a caller gets as what they are; any other is a LaunchError to it.
_KINDS = (ConfigError, ImageError, PublishError, SpoolError, SystemBusyError)
_ERRORS: dict[str, type[DcssError]] = {kind.__name__: kind for kind in _KINDS}


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


def serve_reporting(serve: Callable[[StartupNotifier], None], caller: StartupNotifier) -> int:
    """Run `serve` in CP's process, report what it raises, and return the exit status of the process."""
    try:
        serve(caller)
    except KeyboardInterrupt as error:
        caller.error(LaunchError(f"CP was interrupted before its system was up: {error!r}"))
    except BaseException as error:
        caller.error(error)
        return FAULT_STATUS
    return 0


def follow_startup(lines: BinaryIO, progress: Progress, pid: int, wait: Callable[[], int]) -> dict[str, Any]:
    """Return the document that CP, process `pid`, reports by `up`; `wait` waits for its end and returns its status.

    Raises what CP reports instead, as ConfigError, ImageError, PublishError, SpoolError, SystemBusyError or
    LaunchError.
    """
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
                wait()  # all that it had made is gone
                if fault:
                    raise RuntimeError(f"a fault in CP\n{fault}")
                raise _ERRORS.get(name, LaunchError)(*findings)
    raise LaunchError(
        f"CP (process {pid}) {how_ended(wait())} before its system was up; its next start removes what it left"
    )

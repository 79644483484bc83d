"""The process of a CP that belongs to this program: it ends with this program, however that ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcss.api.calls import may_be_cut
from dcss.documents import from_document
from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.host.process import how_ended
from dcss.host.signals import interrupts_held
from dcss.progress import Progress
from dcss.results import SystemStatus
from dcss.system.startup import follow_startup

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from dcss.api.child import main; main()"
_END_SECONDS = 30.0  # for a CP that does not answer, after SIGTERM


class OwnedCP:
    """A CP that was started with a request of dcss.api.child, and what its system was like when it was up.

    It is exec'd rather than forked: this program may have threads. Its session is its own, so that Ctrl-C reaches this
    program alone. Raises ConfigError, ImageError, PublishError, SpoolError, SystemBusyError, LaunchError; an interrupt
    passes through when nothing is left.
    """

    def __init__(
        self, request: Mapping[str, str | None], progress: Progress, environment: Mapping[str, str] | None = None
    ) -> None:
        self._owner_pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.status = from_document(SystemStatus, self._start(json.dumps(request), progress, environment))
        except BaseException:
            self.end()
            raise

    def _start(self, request: str, progress: Progress, environment: Mapping[str, str] | None) -> dict[str, Any]:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with open(reading, "rb") as lines:
            try:
                with interrupts_held():  # until its number is known
                    self._process = process = _begun(writing, environment)
            finally:
                os.close(writing)
            assert process.stdin is not None
            with may_be_cut(self):
                with suppress(BrokenPipeError), process.stdin as stdin:  # it has ended; what it reports says why
                    stdin.write(request.encode())
                return follow_startup(lines, progress, process.pid, process.wait)

    def cut(self) -> None:
        """Have CP take its system down."""
        process = self._process
        if process is not None and os.getpid() == self._owner_pid:
            for number in (signal.SIGTERM, signal.SIGCONT):  # one that was stopped takes no other signal before
                process.send_signal(number)

    def end(self) -> None:
        """Have CP take its system down, and wait for its end; in a fork of this program, do nothing."""
        process = self._process
        if process is None or os.getpid() != self._owner_pid:
            return
        self.cut()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def take_down(self) -> None:
        """Do what `end` does, and remove what is left where CP was killed.

        Raises LaunchError where CP had ended before, by anything but its system's end.
        """
        process, system = self._process, self.status.system
        if process is None or os.getpid() != self._owner_pid:
            return
        from dcss.cp.sweep import remove_left
        from dcss.rpc.client import Client

        try:
            with Client(system) as client:
                if client.peer.pid == process.pid:
                    client.take_down()
        except (ConfigError, LaunchError):  # it has ended, or answers nothing
            self.end()
        status = process.wait()
        if status:
            with suppress(DcssError):
                remove_left(system)
            raise LaunchError(
                f"system {system}: its CP (process {process.pid}) {how_ended(status)}; what it left is gone"
            )


def _begun(writing: int, environment: Mapping[str, str] | None) -> "subprocess.Popen[bytes]":
    program = _PROGRAM.format(root=str(_ROOT))
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(writing), str(os.getpid())],
            pass_fds=(writing,),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # what this program writes there is its own
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"CP cannot be started: {sys.executable}: {error.strerror}") from error

"""How long a command waits for a CP that is silent: work may take long, but CP's loop never waits."""

import time
from errno import EAGAIN
from pathlib import Path

from dcss.errors import LaunchError
from dcss.host.process import is_readable_by, is_stopped
from dcss.rpc.address import connected
from dcss.rpc.protocol import ControlRequest

LOOK_SECONDS = 0.5  # how often a client that waits looks whether CP still can answer
STOPPED_SECONDS = 2.0  # for so long a CP may stand still that was stopped by a signal
SILENT_SECONDS = 10.0  # within which CP answers a `ping`, whatever else it does, once it has a processor


class NotAnsweringError(LaunchError):
    """A CP is there, and answers nothing: it was stopped, or hangs."""


class EndedError(LaunchError):
    """A CP was there, and ended without an answer: it was killed."""


class AnswerWatch:
    """Watches one CP, process `pid` of `system`, for a client that waits for its answer."""

    def __init__(self, system: str, pid: int, directory: Path) -> None:
        self._system, self._pid, self._directory = system, pid, directory
        self._heard_at = self._ran_at = time.monotonic()

    def heard(self) -> None:
        """Note that CP has sent something."""
        self._heard_at = self._ran_at = time.monotonic()

    def check(self) -> None:
        """Raise NotAnsweringError if CP cannot answer. Called whenever nothing has come for LOOK_SECONDS."""
        self.check_stopped()
        if time.monotonic() - self._heard_at >= SILENT_SECONDS / 2:
            self._ping()
            self.heard()

    def check_stopped(self) -> None:
        """Raise NotAnsweringError if CP has been stopped for STOPPED_SECONDS."""
        now = time.monotonic()
        if not is_stopped(self._pid):
            self._ran_at = now
        elif now - self._ran_at >= STOPPED_SECONDS:
            raise self.error("was stopped by a signal (SIGSTOP or Ctrl-Z), and answers nothing")

    def error(self, what: str) -> NotAnsweringError:
        """Return an error that says what CP does, and what to do about it."""
        return NotAnsweringError(f"system {self._system}: its CP (process {self._pid}) {what}; {self._advice}")

    @property
    def _advice(self) -> str:
        return (
            f"kill -CONT {self._pid} lets it go on; kill -9 {self._pid} ends it and its guests, and then"
            f" dcss down {self._system} removes what it left"
        )

    def _ping(self) -> None:
        """Find out, on a connection of its own, whether CP serves clients. One that it rejects is served, too."""
        try:
            with connected(self._directory) as sock:
                sock.send(ControlRequest("ping", {}).pack())
                silent = not is_readable_by(sock.fileno(), self._pid, time.monotonic() + SILENT_SECONDS)
        except OSError as error:  # it has ended, unless its queue of clients is full: the caller's connection ends, too
            silent = error.errno == EAGAIN
        if silent:
            raise self.error(f"answers nothing for {SILENT_SECONDS:g} s")

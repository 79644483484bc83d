"""A program that gets its guests ready, says so as one line of JSON, and takes them down when its input ends."""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.framework.kernel_books import cpu_seconds_with_ended
from benchmarks.framework.machine import ROOT


class Served:
    """One run of such a program. `ready` is what it said once all guests were ready, `stopped` what it said at the end.

    `command_seconds` is the time from the command to that first line. Where this process dies, the program's input
    ends too, and it takes its guests down.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.ready: dict[str, Any] = {}
        self.stopped: dict[str, Any] = {}
        self.command_seconds = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time of the program, and of its children that have ended."""
        return cpu_seconds_with_ended(self.pid)

    def wait_ready(self) -> None:
        """Read what the program says when its guests are ready. Raises RuntimeError if it ends before."""
        self.ready = self._read()
        self.command_seconds = time.monotonic() - self._began

    def ask(self) -> dict[str, Any]:
        """Send the program a line and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> dict[str, Any]:
        """Have the guests taken down and return what the program said about it."""
        assert self._process.stdin is not None
        if not self.stopped:
            self._process.stdin.close()
            self.stopped = self._read()
            self._process.wait()
        return self.stopped

    def close(self) -> None:
        """End the program however far it got."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        self._process.stdout.read()  # until its end: it says that only when nothing of it is left
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            stream.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            message = self._process.stderr.read().strip()
            raise RuntimeError(f"{' '.join(self._command)}: ended early: {message}")
        answer: dict[str, Any] = json.loads(line)
        return answer

"""A program that gets its guests ready, says so as one line of JSON, and takes them down when its input ends."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.framework.kernel_books import cpu_seconds_with_ended
from benchmarks.framework.machine import ROOT


def tied() -> list[str]:
    """Return the words before a command that is killed where this process is: it would not notice by itself."""
    program = Path(__file__).resolve().parents[1] / "programs" / "tied.py"
    return [sys.executable, "-I", "-S", str(program), str(os.getpid())]


class Served:
    """One run of such a program. `ready` is what it said once all guests were ready, `stopped` what it said at the end.

    `command_seconds` is the time from the command to that first line. Where this process dies, the program's input
    ends too, and it takes its guests down.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._began = time.monotonic()
        # A file, not a pipe: nobody reads it before the end, and a full pipe would stop the program.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the program
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
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
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        self._process.stdout.read()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{' '.join(self._command)}: ended early: {self._errors.read().strip()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

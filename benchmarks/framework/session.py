"""One run of benchmarks: its directories, its processes, and their end however the run ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TypeVar

from benchmarks.framework.machine import ROOT
from benchmarks.framework.served import Served

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
END_SECONDS = 120
Choice = TypeVar("Choice")


class Interrupted(BaseException):
    """A signal ends the run; what it started is taken down first."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class Session:
    """What benchmarks share in one run. Leaving the block ends every process and removes every file of the run."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self.name = str(os.getpid())  # a part of the names of this run's systems
        self._stack = ExitStack()
        self._handlers = {number: signal.getsignal(number) for number in ENDING}

    def __enter__(self) -> Self:
        for number in ENDING:
            signal.signal(number, _interrupt)
        self._stack.callback(self._restore_handlers)
        # In shared memory: no disk is measured, and loop mounts, mke2fs and publications read from memory alike.
        self.scratch = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="dcss-bench-"))
        self._stack.callback(remove_tree, self.scratch)
        (self.scratch / "run").mkdir(mode=0o700)
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.scratch / "run"),
            "XDG_STATE_HOME": str(self.scratch / "state"),
            "PYTHONPATH": str(ROOT),
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        self._stack.close()

    def pick(self, *, quick: Choice, full: Choice) -> Choice:
        """Return the size for this run's mode."""
        return quick if self.quick else full

    @contextlib.contextmanager
    def directory(self, name: str) -> Iterator[Path]:
        """Make a directory in shared memory for the length of a block."""
        path = Path(tempfile.mkdtemp(dir=self.scratch, prefix=f"{name}-"))
        try:
            yield path
        finally:
            remove_tree(path)

    def run(self, *command: str | Path, discard: bool = False) -> str:
        """Run a command to its end and return its standard output; SIGTERM ends it where the run is interrupted.

        With `discard` the output is nobody's. Raises RuntimeError if the command fails.
        """
        words = [str(word) for word in command]
        with subprocess.Popen(
            words,
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if discard else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others in order
        ) as process:
            try:
                out, err = process.communicate()
            except BaseException:
                end(process)
                raise
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)}: status {process.returncode}: {err.strip() or out}")
        return out or ""

    def dcss(self, *words: str | Path, discard: bool = False) -> str:
        """Run a `dcss` command of this checkout."""
        return self.run(sys.executable, "-m", "dcss", *words, discard=discard)

    @contextlib.contextmanager
    def served(
        self, program: str, *arguments: str, options: Sequence[str] = (), prefix: Sequence[str] = ()
    ) -> Iterator[Served]:
        """Start one of benchmarks.programs and wait until it says that it is ready; it ends with the block."""
        path = Path(__file__).resolve().parents[1] / "programs" / f"{program}.py"
        command = [*prefix, sys.executable, *options, str(path), *arguments]
        served = Served(command, self.environment)
        try:
            served.wait_ready()
            yield served
        finally:
            served.close()

    @contextlib.contextmanager
    def bare(self, order: Mapping[str, object], prefix: Sequence[str] = ()) -> Iterator[Served]:
        """Start bare forks; benchmarks.programs.bare has what an order can be."""
        with self.served("bare", json.dumps(order), options=("-I", "-S"), prefix=prefix) as served:
            yield served

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def remove_tree(path: Path) -> None:
    """Remove a tree of any depth; shutil's rmtree recurses in Python, which has a limit."""
    subprocess.run(["rm", "-rf", path], check=False, start_new_session=True)


def end(process: "subprocess.Popen[str]") -> None:
    """End a process by SIGTERM, and by SIGKILL where that is not enough."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _interrupt(number: int, _: FrameType | None) -> None:
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)  # what takes things down is not interrupted again
    raise Interrupted(number)

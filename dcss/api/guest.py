"""A guest of a running system: run commands in it, look at it, stop and start it."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcss.api.calls import ask
from dcss.documents import JsonObject, columns_of, from_document
from dcss.errors import ConfigError, ExecError, LaunchError
from dcss.results import GuestStatus, Result, SystemStatus
from dcss.rpc.program_input import ProgramInput
from dcss.rpc.protocol import Output
from dcss.rpc.watch import NotAnsweringError


@dataclass(frozen=True, slots=True)
class ExecResult(Result):
    """What a command in a guest wrote, and how it ended: the document of `dcss exec --json`.

    Bytes that are not UTF-8 are in the texts as os.fsdecode has them; `os.fsencode(result.stdout)` gives them back.
    """

    guest: str
    exit_status: int
    stdout: str
    stderr: str

    def check(self) -> "ExecResult":
        """Return this result. Raises ExecError where the exit status is not 0."""
        if self.exit_status:
            last = (self.stderr or self.stdout).strip().rpartition("\n")[2]
            message = f"guest {self.guest}: the command ended with status {self.exit_status}" + (last and f": {last}")
            raise ExecError(message, self.exit_status, self.stdout, self.stderr)
        return self

    def rows(self, table: str | None = None) -> list[JsonObject]:
        """Return the whole as one row."""
        return [self.to_document()] if table is None else Result.rows(self, table)

    def columns(self, table: str | None = None) -> tuple[str, ...]:
        """Return the names of this row."""
        return columns_of(ExecResult) if table is None else Result.columns(self, table)


class Guest:
    """A guest of the system `system`, by its name. It stays the same guest over all its starts."""

    __slots__ = ("name", "system")

    def __init__(self, system: str, name: str) -> None:
        self.system, self.name = system, name

    def exec(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        input: bytes | str | None = None,  # noqa: A002 - as subprocess.run has it
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        check: bool = False,
        timeout_seconds: float | None = None,
        on_output: Callable[[str, bytes], object] | None = None,
    ) -> ExecResult:
        """Run a command, a list of words, and return what it wrote and how it ended.

        `on_output` gets the stream's name and each piece of output as it arrives. `input`, `env` and `cwd` are for
        programs (engine s390x). With `check`, raises ExecError where the exit status is not 0. Raises ConfigError for
        a command that is none, LaunchError where the guest is not ready, or ends, or the time is over: then the command
        is cancelled.
        """
        if isinstance(command, str | bytes):
            raise ConfigError(f"exec: found {command!r:.60}, wanted a list of words, such as ['ls', '-l']")
        written = {"stdout": bytearray(), "stderr": bytearray()}

        def take(output: Output) -> None:
            written[output.stream] += output.data
            if on_output is not None:
                on_output(output.stream, output.data)

        options: dict[str, Any] = {"environment": [f"{key}={value}" for key, value in (env or {}).items()]}
        options |= {"directory": cwd, "input": input is not None}
        with _program_input(input) as speaker, self._limit(timeout_seconds):
            answer = ask(
                self.system,
                "exec",
                timeout_seconds=timeout_seconds,
                on_output=take,
                speaker=speaker,
                guest=self.name,
                command=[os.fspath(word) for word in command],
                **{name: value for name, value in options.items() if value},
            )
        texts = {name: bytes(data).decode(errors="surrogateescape") for name, data in written.items()}
        result = ExecResult(self.name, int(answer["exit_status"]), **texts)
        return result.check() if check else result

    @contextmanager
    def _limit(self, seconds: float | None) -> Iterator[None]:
        """Have a command for which the time is over be told from a CP that answers nothing."""
        started = time.monotonic()
        try:
            yield
        except NotAnsweringError as error:
            if seconds is None or time.monotonic() - started < seconds:
                raise
            raise LaunchError(
                f"guest {self.name}: the command did not end within {seconds:g} s: it is cancelled"
            ) from error

    def status(self) -> GuestStatus:
        """Return what the guest does now."""
        guests = from_document(SystemStatus, ask(self.system, "ps")).guests
        return next(guest for guest in guests if guest.name == self.name)

    def log(self) -> str:
        """Return what its kernel and its workload have written, over all its starts."""
        return Path(self.status().log).read_bytes().decode(errors="surrogateescape")

    def start(self) -> GuestStatus:
        """Start the guest, if it does not live, and return its status when its `run:` list has ended, well or not."""
        return self._change("start")

    def stop(self) -> GuestStatus:
        """Stop the guest and return its status."""
        return self._change("stop")

    def restart(self) -> GuestStatus:
        """Stop and start the guest."""
        return self._change("restart")

    def _change(self, action: str) -> GuestStatus:
        return from_document(GuestStatus, ask(self.system, "guest", guest=self.name, action=action))

    def __repr__(self) -> str:
        return f"<dcss.Guest {self.name} of {self.system}>"


@contextmanager
def _program_input(content: bytes | str | None) -> Iterator[ProgramInput | None]:
    """Give what sends `content` to a program, None where there is none."""
    if content is None:
        yield None
        return
    data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    with open(os.memfd_create("dcss-input", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
        file.write(data)
        file.seek(0)
        yield ProgramInput(file.fileno())

"""What an instance knows by its guest's own word, which comes over the guest's console."""

from collections.abc import Sequence

from dcss.abi.console import Counters, FileAccess, Start, Verdict
from dcss.abi.timings import Span
from dcss.engines.base import Accelerator, ExecOptions, OutputSink
from dcss.engines.forked.console import GuestConsole


class ToldByConsole:
    """The part of dcss.engines.base.Instance that a console answers."""

    no_counters_reason = None
    accelerator: Accelerator | None = None
    _console: GuestConsole

    @property
    def access(self) -> tuple[FileAccess, ...]:
        """How files of its mounts are reached, by its own word."""
        return self._console.access

    @property
    def boot(self) -> Start | None:
        """How it was started, by its own word."""
        return self._console.boot

    @property
    def spans(self) -> Sequence[Span]:
        """Where its start went, by its own word."""
        return self._console.spans

    async def verdict(self) -> Verdict | None:
        """Wait until the guest's `run:` list has ended; None where the guest ended before that."""
        return await self._console.verdict()

    async def exec(self, command: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        """Run a command in the guest and return its exit status."""
        return await self._console.exec(command, output, options)

    async def counters(self) -> Counters | None:
        """Return what the guest's kernel counts of itself."""
        return await self._console.counters()

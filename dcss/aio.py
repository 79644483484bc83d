"""The Python API for asyncio: the classes of `dcss`, with methods that are awaited.

    async with dcss.aio.System("demo.yaml") as system:
        guests = await system.guests()
        results = await asyncio.gather(*(guest.exec(["ls"]) for guest in guests.values()))

Each call is one of dcss.System in a worker thread. One that is cancelled ends at once, and with it what it has begun.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import MappingProxyType
from typing import ParamSpec, Self, TypeVar

from dcss.api import guest, system
from dcss.api.calls import Cutter
from dcss.api.guest import ExecResult
from dcss.errors import DcssError
from dcss.host.aio import in_thread, uninterrupted
from dcss.results import GuestStatus, MeasureResult, SystemStatus, VerifyResult

_THREADS = 64  # CP serves as many clients
Answer = TypeVar("Answer")
Parameters = ParamSpec("Parameters")


class Guest:
    """A guest, as dcss.Guest."""

    __slots__ = ("_guest", "name", "system")

    def __init__(self, behind: guest.Guest) -> None:
        self._guest = behind
        self.system, self.name = behind.system, behind.name

    async def exec(
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
        """Run a command, as dcss.Guest.exec does; `on_output` is called in a thread. Cancelled, it ends the command."""
        return await _call(
            self._guest.exec,
            command,
            input=input,
            env=env,
            cwd=cwd,
            check=check,
            timeout_seconds=timeout_seconds,
            on_output=on_output,
        )

    async def status(self) -> GuestStatus:
        """Return what the guest does now."""
        return await _call(self._guest.status)

    async def log(self) -> str:
        """Return what its kernel and its workload have written, over all its starts."""
        return await _call(self._guest.log)

    async def start(self) -> GuestStatus:
        """Start the guest, if it does not live, and return its status when its `run:` list has ended, well or not."""
        return await _call(self._guest.start)

    async def stop(self) -> GuestStatus:
        """Stop the guest and return its status."""
        return await _call(self._guest.stop)

    async def restart(self) -> GuestStatus:
        """Stop and start the guest."""
        return await _call(self._guest.restart)

    def __repr__(self) -> str:
        return f"<dcss.aio.Guest {self.name} of {self.system}>"


class System:
    """A system, up within an `async with` block, or between `start` and `close`; the arguments of dcss.System."""

    def __init__(
        self,
        config: system.Config,
        *,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        allow_failed_guests: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._system = system.System(
            config,
            name=name,
            directory=directory,
            allow_failed_guests=allow_failed_guests,
            environment=environment,
        )

    @classmethod
    async def attach(cls, name: str | None = None) -> Self:
        """Return a system that runs already, as dcss.System.attach does."""
        attached = cls({})
        attached._system = await _call(system.System.attach, name)
        return attached

    async def start(self) -> Self:
        """Start it, as dcss.System.start does. Cancelled, it takes everything down."""
        try:
            await _call(self._system.start)
        except BaseException:
            await self.close()  # it may have come up just when this was cancelled
            raise
        return self

    async def close(self) -> None:
        """Take the system down, if this object has started it; a cancellation takes effect when it is down."""
        await uninterrupted(_call(self._system.close))

    async def down(self) -> None:
        """Take the system down, whoever has started it; a cancellation takes effect when it is down."""
        await uninterrupted(_call(self._system.down))

    @property
    def name(self) -> str:
        """Return the system's name. Raises ConfigError where it is not up."""
        return self._system.name

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its configuration warns of."""
        return self._system.warnings

    async def guests(self) -> Mapping[str, Guest]:
        """Return the guests by name, in the order of the YAML."""
        found = await _call(lambda: self._system.guests)
        return MappingProxyType({name: Guest(behind) for name, behind in found.items()})

    async def status(self) -> SystemStatus:
        """Return what the system, its guests and its segments do now."""
        return await _call(self._system.status)

    async def verify(self, evidence: str | os.PathLike[str] | None = None) -> VerifyResult:
        """Prove what the guests share, and return the verdict, whatever it is."""
        return await _call(self._system.verify, evidence)

    async def measure(self) -> MeasureResult:
        """Return what each guest costs, and what sharing saves."""
        return await _call(self._system.measure)

    async def cp(self, command: str) -> tuple[str, ...]:
        """Give a command to CP's console and return its lines. Raises DcssError with them where CP refuses."""
        return await _call(self._system.cp, command)

    async def log(self) -> str:
        """Return CP's log."""
        return await _call(self._system.log)

    async def __aenter__(self) -> Self:
        return self if self._system.started else await self.start()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            await self.close()
        except DcssError:
            if kind is None:  # else what went wrong in the block says more
                raise

    def __repr__(self) -> str:
        return f"<dcss.aio.{repr(self._system).removeprefix('<dcss.')}"


async def _call(
    function: Callable[Parameters, Answer], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Answer:
    """Call a function of dcss.api in a thread, and have it end soon where this is cancelled."""
    cutter = Cutter()

    def call() -> Answer:
        with cutter.followed():
            return function(*arguments, **options)

    return await in_thread(call, on_cancel=cutter.cut, executor=_threads())


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "dcss")

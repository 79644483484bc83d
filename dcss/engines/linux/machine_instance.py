"""One run of a Linux guest, whatever its architecture: its QEMU and the agent in it."""

import asyncio
import mmap
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from dcss.abi.console import Verdict
from dcss.account.targets import AddressRange, Origin
from dcss.engines.base import Accelerator, End, ExecOptions, MemoryLayout, OutputSink
from dcss.engines.forked.program_console import ProgramConsole
from dcss.engines.linux.agent_port import AgentPort
from dcss.engines.linux.ended import MachineEndedError
from dcss.engines.linux.notes import note
from dcss.engines.linux.panic import last_words_since, panic_since
from dcss.engines.linux.qemu import QemuProcess
from dcss.engines.told import ToldByConsole
from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.host.aio import cancel, in_thread, start_task
from dcss.host.files import empty_file

_ADDRESSES_END: Final = 1 << 64
_END_SECONDS: Final = 5.0  # from the loss of QEMU's memory to its end
_USUAL_BYTES: Final = 128 << 20  # what Debian's kernels need


class GivenInitramfs(NamedTuple):
    """What a machine boots from: an initramfs (its descriptor), the programs in it, unpacked, and a kernel."""

    descriptor: int
    programs: tuple[bytes, ...]
    kernel: Path


class MachineInstance(ToldByConsole, ABC):
    """A machine whose QEMU has been started, with CP's end of its agent's port; see dcss.engines.base.Instance."""

    def __init__(
        self,
        name: str,
        process: QemuProcess,
        agent: socket.socket,
        accelerator: Accelerator,
        initramfs: GivenInitramfs,
        *,
        log: int,
        time_limit_seconds: float | None,
    ) -> None:
        self.name, self.accelerator = name, accelerator
        self._process, self._time_limit_seconds = process, time_limit_seconds
        self._log, self._log_start_bytes = os.dup(log), os.fstat(log).st_size
        self._reason = ""
        self._initramfs = initramfs._replace(descriptor=os.dup(initramfs.descriptor))
        self._origins: tuple[tuple[AddressRange, Origin], ...] = ()
        self._search: asyncio.Task[None] | None = None  # for `_origins`
        self._unpacking: asyncio.Task[mmap.mmap | None] = start_task(self._unpack(), f"kernel of {name}")  # as it boots
        self._agent = AgentPort(agent, lambda: self._give_up("its agent sent what no agent sends"))
        self._console = ProgramConsole(self.name, self._agent.packets, self.kill)
        self._console.start()
        self._life = start_task(self._live(), f"machine {self.name}")

    @property
    def pid(self) -> int | None:
        """QEMU's process."""
        return self._process.pid

    @property
    def pidfd(self) -> int | None:
        """A descriptor of that process while it lives."""
        return self._process.pidfd

    @property
    def exit_status(self) -> int | None:
        """How QEMU ended; None while it runs."""
        return self._process.exit_status

    @property
    def pids(self) -> tuple[int, ...]:
        """QEMU's process while it lives."""
        return () if self.exit_status is not None else (self._process.pid,)

    async def verdict(self) -> Verdict | None:
        """Wait until the guest's `run:` list has ended, and it is known whose QEMU's memory is."""
        verdict = await super().verdict()
        if self._search is None:
            self._search = start_task(self._settle_memory(), f"memory of {self.name}")
        await asyncio.shield(self._search)
        return verdict

    async def _settle_memory(self) -> None:
        """Give back the archive, which has been unpacked, and find out where the machine has programs and kernel."""
        from dcss.engines.linux.initramfs_pages import unpacked_ranges  # with numpy, which few need before a proof
        from dcss.engines.linux.kernel_pages import kernel_ranges

        storage = self._own_storage()
        with suppress(OSError, DcssError):  # it has ended
            empty_file(self._initramfs.descriptor)
            programs = await in_thread(unpacked_ranges, self._process.pid, storage, self._initramfs.programs)
            emulator = (AddressRange(0, storage.start), AddressRange(storage.end, _ADDRESSES_END))
            self._origins = tuple((addresses, "engine") for addresses in (*emulator, *programs))
            image = await self._unpacking
            if image is not None:
                with image:  # which counts as CP's own memory where nobody else has it mapped
                    kernel = await in_thread(kernel_ranges, self._process.pid, storage, image)
                self._origins += tuple((addresses, "modules") for addresses in kernel)

    async def _unpack(self) -> mmap.mmap | None:
        """Return the kernel as it lies in storage; None where that is not known."""
        try:
            return await in_thread(_prepare_search, self._initramfs.kernel)
        except DcssError as error:
            self._note(f"{error}: what it has in common with a segment counts as a copy")
            return None

    async def exec(self, command: Sequence[str], output: OutputSink, options: ExecOptions | None = None) -> int:
        """Run a program in the guest and return its exit status."""
        if options is not None and (options.strace or options.debugger is not None):
            raise ConfigError(
                f"guest {self.name}: found --strace or --gdb, wanted neither: they are for guests of engine s390x, and"
                " a machine's own kernel has strace and gdb where they are installed in it"
            )
        return await super().exec(command, output, options)

    async def ended(self) -> End:
        """Wait until QEMU has ended and all that the guest sent has been read."""
        return await asyncio.shield(self._life)

    def kill(self) -> None:
        """End QEMU at once."""
        self._process.kill()

    @abstractmethod
    def read_storage(self, write_fd: int, address: int, size_bytes: int) -> None:
        """Write absolute storage to a file that reads as zeros."""

    @abstractmethod
    def memory(self) -> MemoryLayout:
        """Return where QEMU has the guest's memory."""

    def on_end(self, call: Callable[[], object]) -> None:
        """Have `call` called once QEMU has ended."""
        self._process.ended.add_done_callback(lambda _: call())

    @abstractmethod
    def _own_storage(self) -> AddressRange:
        """Return where QEMU has the memory that the kernel takes for its own; nothing while that is not known."""

    @abstractmethod
    async def _attend(self) -> None:
        """Do what the machine needs of CP while it runs. Raises MachineEndedError, LaunchError, OSError, ValueError."""

    def _closed(self) -> None:
        """Give back what is left, once QEMU has ended."""

    async def _live(self) -> End:
        """Serve the machine from its first instruction to its end."""
        passing = asyncio.create_task(self._agent.serve())
        attending = asyncio.create_task(self._attend_or_end())
        limit = asyncio.create_task(self._keep_time())
        try:
            status = await self._process.ended
            await passing
            await attending
            self._console.end(status)
            if status == 0 and not self._reason:  # by itself
                self._reason = await self._failure()
        finally:
            await cancel(passing, attending, limit, self._unpacking)
            self._closed()
            os.close(self._initramfs.descriptor)
            os.close(self._log)
        return End(status, self._reason)

    async def _failure(self) -> str:
        """Return why a machine ended by itself that should not have; nothing where its list had ended."""
        storage = self._own_storage()
        size_bytes = storage.end - storage.start
        little = f"; storage: {size_bytes >> 20}M may be too little for it" if 0 < size_bytes < _USUAL_BYTES else ""
        panic = panic_since(self._log, self._log_start_bytes)
        if panic is not None:
            return f"its kernel panicked: {panic}{little}; {self._where_all_is}"
        if await self._console.verdict() is not None:
            return ""
        said = last_words_since(self._log, self._log_start_bytes)
        words = f"; its console ends with {said!r}" if said else ", and printed nothing"
        return f"its machine ended before its `run:` list did{words}{little}; {self._where_all_is}"

    @property
    def _where_all_is(self) -> str:
        """Where the console is: dcss run takes it away with its system."""
        return f"dcss logs {self.name} has all of it while its system is up"

    async def _attend_or_end(self) -> None:
        try:
            await self._attend()
        except MachineEndedError:
            pass
        except (LaunchError, OSError, ValueError) as error:
            if isinstance(error, OSError):  # its memory goes before it is known that it has ended
                await asyncio.wait([self._process.ended], timeout=_END_SECONDS)
            if self.exit_status is None:
                self._give_up(f"the machine cannot go on: {error}")

    async def _keep_time(self) -> None:
        if self._time_limit_seconds is not None:
            try:
                async with asyncio.timeout(self._time_limit_seconds):
                    await self._console.verdict()
            except TimeoutError:
                self._give_up(
                    f"its `run:` list took longer than {self._time_limit_seconds:g} s (time_limit:, boot included);"
                    f" {self._where_all_is}"
                )

    def _note(self, line: str) -> None:
        note(self._log, line)

    def _give_up(self, reason: str) -> None:
        self._reason = self._reason or reason
        self.kill()


def _prepare_search(kernel: Path) -> mmap.mmap:
    """Unpack a kernel and import what finds it in storage, as its machine boots: that is waited for later."""
    from dcss.engines.linux import initramfs_pages, kernel_pages  # noqa: F401 with numpy
    from dcss.kernels.unpacked_file import unpacked_file

    return unpacked_file(kernel)

"""Engine `linux`: every guest is a QEMU with an unmodified Linux kernel, whose own dcssblk driver loads segments."""

import asyncio
import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from dcss.config.plan import GuestPlan, LinuxSettings
from dcss.config.problems import ConfigProblem
from dcss.engines.base import GuestRefusedError, Port
from dcss.engines.linux.qemu import FIRMWARE_BYTES, PACKAGES, PROGRAMS, Machine, QemuProcess
from dcss.engines.linux.reach import segments_end
from dcss.errors import DcssError, LaunchError
from dcss.host.aio import in_thread
from dcss.host.mark import Mark
from dcss.host.ptrace import unsupported_because
from dcss.kernels.find import find_kernel
from dcss.kernels.initramfs import initramfs

if TYPE_CHECKING:
    from dcss.engines.linux.instance import LinuxInstance

_STEP_BYTES = 256 << 20  # storage ends at a multiple of this
_LEAST_BYTES = 768 << 20  # of storage, for segments that no device of the plan has


class LinuxEngine:
    """Guests as virtual machines; see dcss.engines.base.Engine."""

    name = "linux"
    preparation = None
    pids: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._instances: set[LinuxInstance] = set()

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        """Return a problem for each guest that asks for what a machine cannot have, and for all without QEMU."""
        program, package = PROGRAMS["s390x"], PACKAGES["s390x"]
        by_entry = {guest.where: guest for guest in guests}  # those of one entry differ in their names alone
        problems = [problem for guest in by_entry.values() for problem in _unsupported(guest)]
        reason = unsupported_because()
        if reason is not None:
            problems += [
                ConfigProblem(f"{where}: engine", f"linux, and {reason}", "another engine") for where in by_entry
            ]
        if importlib.util.find_spec("qemu") is None:
            found, mend = "linux, which needs qemu.qmp, and none installed", "pip install 'dcss-emulator[linux]'"
            problems += [ConfigProblem(f"{where}: engine", found, "qemu.qmp", mend) for where in by_entry]
        if shutil.which(program) is not None:
            return problems
        return problems + [
            ConfigProblem(
                f"{where}: engine", f"linux, and no {program}", f"{program} in PATH", f"apt install {package}"
            )
            for where in by_entry
        ]

    async def start(self, log: int, mark: Mark) -> None:
        """Remember whose processes the machines are."""
        del log  # each machine has its guest's
        self._mark = mark

    async def serve(self) -> NoReturn:
        """Wait: each machine is served by a task of its own."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this future")

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> "LinuxInstance":
        """Start a machine."""
        from dcss.engines.linux.instance import LinuxInstance, Sockets  # with qemu.qmp, of the extra

        end = max(await segments_end(plan, port), plan.storage_bytes, _LEAST_BYTES)
        size_bytes = -(-(end + FIRMWARE_BYTES) // _STEP_BYTES) * _STEP_BYTES
        settings = plan.settings
        assert isinstance(settings, LinuxSettings), "the plan is this engine's"
        try:
            kernel = await in_thread(find_kernel, settings.kernel, settings.arch)
            archive = await in_thread(initramfs, kernel, settings.arch, plan)
        except DcssError as error:
            raise GuestRefusedError(str(error)) from error
        machine = Machine(
            plan.name,
            size_bytes,
            plan.storage_bytes,
            settings.cpus,
            kernel.image,
            settings.append,
            settings.time_limit_seconds,
        )
        with ExitStack() as stack:
            ours, theirs = zip(*(_socket_pair(stack) for _ in range(len(Sockets._fields))), strict=True)
            with _file_of(archive) as initrd:
                inherited = (*(sock.fileno() for sock in theirs), initrd)
                command = machine.command(*inherited)
                try:
                    process = QemuProcess(command, inherited, log, self._mark)
                except LaunchError as error:
                    raise GuestRefusedError(str(error)) from error
            for sock in theirs:
                sock.close()
            stack.pop_all()
        instance = LinuxInstance(machine, process, port, Sockets(*ours), log=log)
        self._instances.add(instance)
        process.ended.add_done_callback(lambda _: self._instances.discard(instance))
        return instance

    async def close(self) -> None:
        """End every machine."""
        left = list(self._instances)
        for instance in left:
            instance.kill()
        for instance in left:
            await instance.ended()


def _unsupported(guest: GuestPlan) -> Iterator[ConfigProblem]:
    if guest.disks:
        yield ConfigProblem(f"{guest.where}: disks", "a disk", "none with engine linux", "use a segment")
    for number, mount in enumerate(guest.mounts):
        if mount.mode in {"ramdisk", "mtd"}:
            where = f"{guest.where}: mounts[{number}].mode"
            yield ConfigProblem(where, str(mount.mode), "xip or page-cache with engine linux", "use engine process")


def _socket_pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Make a pair of stream sockets, of which the first is CP's; `stack` closes both."""
    ours, theirs = socket.socketpair()
    return stack.enter_context(ours), stack.enter_context(theirs)


@contextmanager
def _file_of(content: bytes) -> Iterator[int]:
    """Have a file without a name that holds `content`."""
    descriptor = os.memfd_create("dcss-initramfs")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield descriptor
    finally:
        os.close(descriptor)

"""Engine `linux`: every guest is a QEMU with an unmodified Linux kernel, whose own dcssblk driver loads segments."""

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NoReturn

from dcss.config.plan import GuestPlan, LinuxSettings
from dcss.config.problems import ConfigProblem
from dcss.engines.base import GuestRefusedError, Port
from dcss.engines.linux.instance import LinuxInstance, Sockets
from dcss.engines.linux.loads import SegmentStorage
from dcss.engines.linux.qemu import FIRMWARE_BYTES, PACKAGES, PROGRAMS, Machine, QemuProcess
from dcss.engines.linux.reach import segments_end
from dcss.engines.linux.storage_object import StorageObject
from dcss.errors import DcssError, LaunchError
from dcss.host.aio import in_thread
from dcss.host.mark import Mark
from dcss.kernels.find import find_kernel
from dcss.kernels.initramfs import initramfs

_STEP_BYTES = 256 << 20  # storage ends at a multiple of this
_LEAST_BYTES = 768 << 20  # of storage, for segments that no device of the plan has


class LinuxEngine:
    """Guests as virtual machines; see dcss.engines.base.Engine."""

    name = "linux"
    preparation = None
    pids: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._instances: set[LinuxInstance] = set()
        self._objects: list[StorageObject] = []  # the last one is for machines that are started now

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        """Return a problem for each guest that asks for what a machine cannot have, and for all without QEMU."""
        program, package = PROGRAMS["s390x"], PACKAGES["s390x"]
        by_entry = {guest.where: guest for guest in guests}  # those of one entry differ in their names alone
        problems = [problem for guest in by_entry.values() for problem in _unsupported(guest)]
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

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> LinuxInstance:
        """Start a machine."""
        end = max(await segments_end(plan, port), plan.storage_bytes, _LEAST_BYTES)
        size_bytes = -(-(end + FIRMWARE_BYTES) // _STEP_BYTES) * _STEP_BYTES
        settings = plan.settings
        assert isinstance(settings, LinuxSettings), "the plan is this engine's"
        try:
            kernel = await in_thread(find_kernel, settings.kernel, settings.arch)
            archive = await in_thread(initramfs, kernel, settings.arch, plan)
            segments = SegmentStorage(self._shared_object(size_bytes))
        except DcssError as error:
            raise GuestRefusedError(str(error)) from error
        machine = Machine(
            plan.name,
            segments.shared.path,
            size_bytes,
            plan.storage_bytes,
            settings.cpus,
            kernel.image,
            settings.append,
            settings.time_limit_seconds,
        )
        with ExitStack() as stack:
            (gdb, their_gdb), (agent, their_agent) = (_socket_pair(stack) for _ in range(2))
            with _file_of(archive) as initrd:
                command = machine.command(their_gdb.fileno(), their_agent.fileno(), initrd)
                inherited = (their_gdb.fileno(), their_agent.fileno(), initrd)
                try:
                    process = QemuProcess(command, inherited, log, self._mark)
                except LaunchError as error:
                    raise GuestRefusedError(str(error)) from error
            their_gdb.close()
            their_agent.close()
            stack.pop_all()
        instance = LinuxInstance(machine, process, segments, port, Sockets(gdb, agent), log=log)
        self._instances.add(instance)
        process.ended.add_done_callback(lambda _: self._ended(instance))
        return instance

    async def close(self) -> None:
        """End every machine, and give up their storage."""
        left = list(self._instances)
        for instance in left:
            instance.kill()
        for instance in left:
            await instance.ended()
        for each in self._objects:
            each.close()
        self._objects.clear()

    def _shared_object(self, size_bytes: int) -> StorageObject:
        """Return the object for a machine that is started now: one in which its loads get what they ask for."""
        current = self._objects[-1] if self._objects else None
        if current is None or any(each.segments.outdated for each in self._users(current)):
            current = StorageObject(self._mark.system, size_bytes)
            self._objects.append(current)
            self._drop_unused()
        current.grow(size_bytes)
        return current

    def _users(self, storage: StorageObject) -> list[LinuxInstance]:
        return [instance for instance in self._instances if instance.segments.shared is storage]

    def _ended(self, instance: LinuxInstance) -> None:
        self._instances.discard(instance)
        self._drop_unused()

    def _drop_unused(self) -> None:
        """Close the objects that no machine uses, but for the last one."""
        for each in [each for each in self._objects[:-1] if not self._users(each)]:
            self._objects.remove(each)
            each.close()


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

"""Engine `linux`: every guest is a QEMU with an unmodified Linux kernel, whose own dcssblk driver loads segments."""

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NoReturn

from dcss.config.plan import GuestPlan
from dcss.config.problems import ConfigProblem
from dcss.engines.base import GuestRefusedError, Port
from dcss.engines.linux.instance import LinuxInstance
from dcss.engines.linux.loads import SegmentStorage
from dcss.engines.linux.qemu import FIRMWARE_BYTES, PACKAGES, PROGRAMS, Machine, QemuProcess, socket_pairs
from dcss.engines.linux.reach import segments_end
from dcss.engines.linux.storage_object import StorageObject
from dcss.errors import LaunchError, PublishError
from dcss.host.aio import in_thread
from dcss.host.mark import Mark

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
        """Return a problem for all guests where QEMU is not installed."""
        program, package = PROGRAMS["s390x"], PACKAGES["s390x"]
        if shutil.which(program) is not None:
            return ()
        fields = dict.fromkeys(guest.where for guest in guests)
        return [
            ConfigProblem(
                f"{where}: engine", f"linux, and no {program}", f"{program} in PATH", f"apt install {package}"
            )
            for where in fields
        ]

    async def start(self, log: int, mark: Mark) -> None:
        """Remember whose processes the machines are."""
        self._mark = mark

    async def serve(self) -> NoReturn:
        """Wait: each machine is served by a task of its own."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this future")

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> LinuxInstance:
        """Start a machine."""
        end = max(await segments_end(plan, port), plan.storage_bytes, _LEAST_BYTES)
        size_bytes = -(-(end + FIRMWARE_BYTES) // _STEP_BYTES) * _STEP_BYTES
        kernel, initrd = await in_thread(kernel_files, plan)
        try:
            segments = SegmentStorage(self._shared_object(size_bytes))
        except PublishError as error:
            raise GuestRefusedError(str(error)) from error
        machine = Machine(plan.name, segments.shared.path, size_bytes, plan.storage_bytes, 1, kernel, initrd, "")
        with ExitStack() as stack:
            (gdb, their_gdb), (agent, their_agent) = socket_pairs(stack, 2)
            command = machine.command(their_gdb.fileno(), their_agent.fileno())
            try:
                process = QemuProcess(command, (their_gdb, their_agent), log, self._mark)
            except LaunchError as error:
                raise GuestRefusedError(str(error)) from error
            stack.pop_all()
            their_gdb.close()
            their_agent.close()
        instance = LinuxInstance(machine, process, segments, port, gdb, agent, log)
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

"""Engine `linux`: every guest is a QEMU with an unmodified Linux kernel, whose own dcssblk driver loads segments."""

import asyncio
import importlib.util
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import NoReturn

from dcss.config.plan import GuestPlan, LinuxSettings
from dcss.config.problems import ConfigProblem
from dcss.engines.base import Accelerator, GuestRefusedError, Port
from dcss.engines.linux.kvm import choose_accelerator
from dcss.engines.linux.machine_instance import GivenInitramfs, MachineInstance
from dcss.engines.linux.notes import note
from dcss.engines.linux.pmem import close_devices, load_devices
from dcss.engines.linux.pmem_machine import MOST_DEVICES, PmemMachine
from dcss.engines.linux.qemu import FIRMWARE_BYTES, PACKAGES, PROGRAMS, Machine, QemuProcess
from dcss.engines.linux.qemu_version import OLDEST, unusable_because
from dcss.engines.linux.reach import segments_end
from dcss.errors import DcssError, LaunchError
from dcss.host.aio import cancel, in_thread
from dcss.host.mark import Mark
from dcss.host.ptrace import unsupported_because
from dcss.kernels.find import find_kernel
from dcss.kernels.initramfs import Initramfs, initramfs

_STEP_BYTES = 256 << 20  # storage ends at a multiple of this
_LEAST_BYTES = 768 << 20  # of storage, for segments that no device of the plan has


class LinuxEngine:
    """Guests as virtual machines; see dcss.engines.base.Engine."""

    name = "linux"
    preparation = None
    pids: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._instances: set[MachineInstance] = set()
        self._accelerators: dict[Path, asyncio.Task[Accelerator]] = {}  # by the kernel's image

    def check(self, guests: Sequence[GuestPlan]) -> Sequence[ConfigProblem]:
        """Return a problem for each guest that asks for what a machine cannot have, and for all without QEMU."""
        by_entry = {guest.where: guest for guest in guests}  # those of one entry differ in their names alone
        problems = [problem for guest in by_entry.values() for problem in _unsupported(guest)]
        if importlib.util.find_spec("qemu") is None:
            found, mend = "linux, which needs qemu.qmp, and none installed", "pip install 'dcss-emulator[linux]'"
            problems += [ConfigProblem(f"{where}: engine", found, "qemu.qmp", mend) for where in by_entry]
        return problems

    async def start(self, log: int, mark: Mark) -> None:
        """Remember whose processes the machines are."""
        del log  # each machine has its guest's
        self._mark = mark

    async def serve(self) -> NoReturn:
        """Wait: each machine is served by a task of its own."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody ends this future")

    async def spawn(self, plan: GuestPlan, port: Port, log: int) -> MachineInstance:
        """Start a machine."""
        settings = _settings(plan)
        try:
            kernel = await in_thread(find_kernel, settings.kernel, settings.arch)
            root = await in_thread(initramfs, kernel, settings.arch, plan)
        except DcssError as error:
            raise GuestRefusedError(str(error)) from error
        spawn = self._spawn_pmem if plan.has_devices else self._spawn_s390x
        instance = await spawn(plan, port, log, kernel.image, root)
        self._instances.add(instance)
        instance.on_end(lambda: self._instances.discard(instance))
        return instance

    async def _spawn_pmem(self, plan: GuestPlan, port: Port, log: int, image: Path, root: Initramfs) -> MachineInstance:
        from dcss.engines.linux.pmem_instance import PmemInstance, PmemSockets  # with qemu.qmp, of the extra

        settings = _settings(plan)
        accelerator = await self._accelerator(image)
        downgraded = accelerator.downgraded_because
        note(log, f"accelerator {accelerator.name}{f', since {downgraded}' if downgraded else ''}")
        machine = PmemMachine(
            plan.name,
            plan.storage_bytes,
            settings.cpus,
            image,
            settings.append,
            accelerator,
            settings.time_limit_seconds,
        )
        devices = await load_devices(plan, port, lambda line: note(log, line))
        try:
            objects = [device.object for device in devices]
            with _file_of(root.archive) as initrd, ExitStack() as stack:
                ours, theirs = _socket_pairs(stack, len(PmemSockets._fields))
                monitor, agent = (sock.fileno() for sock in theirs)
                inherited = (monitor, agent, initrd, *(device.descriptor for device in devices))
                process = self._start_qemu(machine.command(monitor, agent, initrd, devices), inherited, log)
                _close(theirs)
                stack.pop_all()
                given = GivenInitramfs(initrd, root.programs, image)
                return PmemInstance(machine, process, PmemSockets(*ours), objects, given, log=log)
        finally:
            close_devices(devices)

    async def _accelerator(self, kernel: Path) -> Accelerator:
        """Find out once for each kernel whether KVM runs it."""
        if kernel not in self._accelerators:
            self._accelerators[kernel] = asyncio.create_task(choose_accelerator(kernel, self._mark))
        return await asyncio.shield(self._accelerators[kernel])

    def _start_qemu(self, command: Sequence[str], inherited: Sequence[int], log: int) -> QemuProcess:
        try:
            return QemuProcess(command, inherited, log, self._mark)
        except LaunchError as error:
            raise GuestRefusedError(str(error)) from error

    async def _spawn_s390x(
        self, plan: GuestPlan, port: Port, log: int, image: Path, root: Initramfs
    ) -> MachineInstance:
        from dcss.engines.linux.instance import LinuxInstance, Sockets  # with qemu.qmp, of the extra

        settings = _settings(plan)
        end = max(await segments_end(plan, port), plan.storage_bytes, _LEAST_BYTES)
        size_bytes = -(-(end + FIRMWARE_BYTES) // _STEP_BYTES) * _STEP_BYTES
        machine = Machine(
            plan.name,
            size_bytes,
            plan.storage_bytes,
            settings.cpus,
            image,
            settings.append,
            settings.time_limit_seconds,
        )
        with _file_of(root.archive) as initrd, ExitStack() as stack:
            ours, theirs = _socket_pairs(stack, len(Sockets._fields))
            inherited = (*(sock.fileno() for sock in theirs), initrd)
            process = self._start_qemu(machine.command(*inherited), inherited, log)
            _close(theirs)
            stack.pop_all()
            given = GivenInitramfs(initrd, root.programs, image)
            return LinuxInstance(machine, process, port, Sockets(*ours), given, log=log)

    async def close(self) -> None:
        """End every machine."""
        await cancel(*self._accelerators.values())
        left = list(self._instances)
        for instance in left:
            instance.kill()
        for instance in left:
            await instance.ended()


def _settings(plan: GuestPlan) -> LinuxSettings:
    assert isinstance(plan.settings, LinuxSettings), "the plan is this engine's"
    return plan.settings


def _unsupported(guest: GuestPlan) -> Iterator[ConfigProblem]:
    arch = _settings(guest).arch
    unusable = unusable_because(PROGRAMS[arch])
    if unusable is not None:
        wanted = f"{PROGRAMS[arch]} {'.'.join(map(str, OLDEST))} or newer in PATH"
        yield ConfigProblem(f"{guest.where}: engine", f"linux, and {unusable}", wanted, f"apt install {PACKAGES[arch]}")
    if guest.has_devices:
        yield from _unsupported_by_pmem(guest)
    else:
        reason = unsupported_because()
        if reason is not None:
            yield ConfigProblem(f"{guest.where}: engine", f"linux, and {reason}", "another engine")
    if guest.disks:
        yield ConfigProblem(f"{guest.where}: disks", "a disk", "none with engine linux", "use a segment")
    for number, mount in enumerate(guest.mounts):
        if mount.mode in {"ramdisk", "mtd"}:
            where = f"{guest.where}: mounts[{number}].mode"
            yield ConfigProblem(where, str(mount.mode), "xip or page-cache with engine linux", "use engine process")


def _unsupported_by_pmem(guest: GuestPlan) -> Iterator[ConfigProblem]:
    """Yield what a machine cannot do that has segments as read-only devices, given before it starts."""
    where = f"{guest.where}: dcssblk"
    mend = "arch: s390x has a driver that loads segments"
    if len(guest.dcssblk) > MOST_DEVICES:
        yield ConfigProblem(where, f"{len(guest.dcssblk)} devices", f"at most {MOST_DEVICES} with arch: x86_64", mend)
    for device in guest.dcssblk:
        if device.endswith("(local)"):
            yield ConfigProblem(where, f"'{device}'", "a shared load, since arch: x86_64 only reads", mend)
        elif ":" in device:
            yield ConfigProblem(where, f"'{device}'", "one segment in each device with arch: x86_64", mend)
    for number, step in enumerate(guest.run):
        if step.verb == "load":
            field = f"{guest.where}: run[{number}].load"
            yield ConfigProblem(field, str(step.argument), "the segment in dcssblk: with arch: x86_64", mend)


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _socket_pairs(stack: ExitStack, pairs: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """Make pairs of stream sockets, and return CP's ends and the others; `stack` closes them."""
    made = [socket.socketpair() for _ in range(pairs)]
    for sock in chain.from_iterable(made):
        stack.enter_context(sock)
    return [ours for ours, _ in made], [theirs for _, theirs in made]


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

"""The guest kernel of engine `process`: machine, segments, drivers, file systems and tasks, put together."""

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dcss.abi.console import PAGE_CACHE, Counters, FileAccess
from dcss.abi.mount import IN_PLACE
from dcss.abi.page import PAGE_SIZE
from dcss.errors import Ext2FormatError, KernelError
from vmguest.block.dcssblk import DRIVER_NAME, Dcssblk
from vmguest.block.genhd import BlockDevices
from vmguest.credentials import ROOT, Credentials
from vmguest.extmem import Extmem
from vmguest.fs.builtin import builtin_types
from vmguest.fs.devices import Devices
from vmguest.fs.do_mount import disk_at_boot, mount_at_boot
from vmguest.fs.mount import Dentry, Mount
from vmguest.fs.namei import Vfs
from vmguest.fs.options import parse_options
from vmguest.hostmem import Reservation
from vmguest.machine import VirtualMachine
from vmguest.printk import LogBuffer
from vmguest.spec import TMPFS_MODE
from vmguest.task import Task

if TYPE_CHECKING:
    from vmguest.fs.process_view import ProcessView
    from vmguest.fs.procfs import ProcPart
    from vmguest.fs.sysfs import SysfsDirectory
    from vmguest.module import Modules


class Kernel:
    """One running guest kernel. `name` is its host name, `init` the task that runs the workload."""

    def __init__(
        self,
        reservation: Reservation,
        storage_bytes: int,
        port: socket.socket,
        console: int | None = None,
        *,
        name: str = "LINUX",
        command_line: str = "",
    ) -> None:
        self.name = name
        self.command_line = command_line
        self.log = LogBuffer(console)
        self.machine = VirtualMachine(reservation, storage_bytes, port)
        self.extmem = Extmem(self.machine, self.log)
        self.block_devices = BlockDevices()
        self.dcssblk = Dcssblk(self.machine, self.extmem, self.block_devices, self.log)
        self.devices = Devices(self.block_devices, self.machine.storage)
        types = builtin_types(self.machine, self.log, self.devices, self._sysfs_tree, self)
        self.vfs = Vfs(types, self.devices, self._populate)
        self.access: list[FileAccess] = []  # of what was mounted at boot
        # What programs have of their own, and what they use in place of segments, in guests that have some.
        self.program_bytes: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self._modules: Modules | None = None  # most guests load none
        self.processes: Mapping[int, ProcessView] = {}  # that programs are, in guests that have some
        self.current_pid: int | None = None  # of who makes a system call
        self.current_tid: int | None = None
        self.oopses = 0  # errors of its own, each of which ended a program
        self.proc_parts: list[ProcPart] = []
        self.system_devices: SysfsDirectory = {}
        self.tasks: list[Task] = []
        self.init = self.new_task()

    def new_task(self, directory: Dentry | None = None, credentials: Credentials = ROOT) -> Task:
        """Start a task of a user, in a working directory or the root; `end_task` ends it."""
        task = Task(self.machine, self.vfs, directory, credentials)
        self.tasks.append(task)
        return task

    def end_task(self, task: Task) -> None:
        """End a task and give back what it has."""
        task.exit()
        self.tasks.remove(task)

    def mount(self, device: str, at: str, options: tuple[str, ...], mode: str = "") -> Mount:
        """Mount ext2 from a block device, /dev/ before its name or not, as at boot; `mode` is ramdisk, mtd or empty.

        With mode tmpfs there is no device, and what is mounted is empty. Raises KernelError.
        """
        if mode == TMPFS_MODE:
            return mount_at_boot(self.vfs, device, at, parse_options(options), mode)
        if mode:
            return self._mount_above(device, at, options, mode)
        parsed = parse_options(options)
        mount = mount_at_boot(self.vfs, device, at, parsed)
        wanted = next((option for option in parsed.data if option in IN_PLACE), PAGE_CACHE)
        got = next((option for option in mount.file_system.options if option in IN_PLACE), PAGE_CACHE)
        self.access.append(FileAccess(device, at, wanted, got))
        return mount

    def _mount_above(self, device: str, at: str, options: tuple[str, ...], mode: str) -> Mount:
        from vmguest.block.modes import add_device  # imported by the fork server; most guests need none

        source = disk_at_boot(self.vfs, device, at)
        disk = add_device(mode, source, self.block_devices, self.machine, self.extmem)
        try:
            mount = mount_at_boot(self.vfs, disk.name, at, parse_options(options))
        except (KernelError, Ext2FormatError):
            self.block_devices.del_disk(disk)
            raise
        self.access.append(FileAccess(device, at, mode, mode))
        return mount

    @property
    def modules(self) -> "Modules":
        """The kernel and modules that were loaded from files."""
        if self._modules is None:
            from vmguest.module import Modules  # imported by the fork server

            self._modules = Modules(self.machine)
        return self._modules

    def sync(self) -> None:
        """Write what was changed on every file system. Raises KernelError(EIO)."""
        for system in self.vfs.file_systems:
            if system.writer is not None:
                system.writer.sync()

    def power_off(self) -> None:
        """Write and release every file system that is written, as at the end of a shutdown. Raises KernelError(EIO)."""
        for system in self.vfs.file_systems:
            if system.device is not None and system.writer is not None:
                system.unmount()

    def counters(self) -> Counters:
        """Return the guest's own account."""
        systems = self.vfs.file_systems
        ramdisk_pages = sum(disk.own_pages for disk in self.block_devices)
        own_bytes, in_place_bytes = self.program_bytes()
        return Counters(
            sum(system.page_cache_bytes for system in systems),
            sum(system.buffer_bytes for system in systems) + (self.devices.buffer_pages + ramdisk_pages) * PAGE_SIZE,
            sum(task.mm.anonymous_pages for task in self.tasks) * PAGE_SIZE + own_bytes,
            0 if self._modules is None else self._modules.pages * PAGE_SIZE,
            in_place_bytes,
            self.oopses,
        )

    def _sysfs_tree(self) -> "SysfsDirectory":
        """Return what /sys shows now."""
        from vmguest.block.dcssblk_sysfs import driver_tree
        from vmguest.block.genhd_sysfs import disks_tree

        devices: SysfsDirectory = {DRIVER_NAME.encode(): driver_tree(self.dcssblk)}
        if self.system_devices:
            devices[b"system"] = self.system_devices
        return {b"block": disks_tree(self.block_devices), b"devices": devices}

    def _populate(self) -> None:
        from vmguest.init import populate

        populate(self.vfs, self.name, self.log)

"""The guest kernel of engine `process`: machine, segments, block driver and names, put together and started."""

import socket
from errno import ENXIO

from dcss.abi.extmem import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.block.dcssblk import Dcssblk
from vmguest.console import Books
from vmguest.extmem import Extmem
from vmguest.fs.ramfs import RamFileSystem
from vmguest.fs.super import Ext2FileSystem
from vmguest.fs.vfs import Mount, Vfs
from vmguest.hostmem import Reservation
from vmguest.machine import Machine
from vmguest.printk import KernelLog
from vmguest.workload import Process


class Kernel:
    """One running guest kernel with its one user process. `name` is its host name."""

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
        self.log = KernelLog(console)
        self.machine = Machine(reservation, storage_bytes, port)
        self.extmem = Extmem(self.machine, self.log)
        self.dcssblk = Dcssblk(self.machine, self.extmem, self.log)
        self.vfs = Vfs(RamFileSystem(self.machine.storage, "rootfs"), self._populate)
        self.process = Process(self.machine, self.vfs)

    def mount(self, device: str, at: str, options: tuple[str, ...]) -> Mount:
        """Mount ext2 from a block device, /dev/ before its name or not. Raises KernelError."""
        name = device.removeprefix("/dev/")
        block_device = self.dcssblk.by_name(name)
        if block_device is None:
            raise KernelError(ENXIO, f"mount {device} at {at}: no such block device")
        file_system = Ext2FileSystem(block_device, options, self.machine, self.log)
        try:
            return self.vfs.mount(file_system, at)
        except KernelError:
            file_system.unmount()
            raise

    def books(self) -> Books:
        """Return the guest's own account."""
        systems = {id(mount.file_system): mount.file_system for mount in self.vfs.mounts}.values()
        return Books(
            sum(system.page_cache_bytes for system in systems),
            sum(system.buffer_bytes for system in systems),
            self.process.anonymous_pages * PAGE_SIZE,
        )

    def _populate(self) -> None:
        from vmguest.populate import populate

        populate(self)

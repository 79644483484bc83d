"""What a guest has beside its file systems when programs run in it: more devices, /proc of processes, FIFOs, /run."""

from errno import ENXIO
from typing import Final

from dcss.errors import KernelError
from vmguest.fs.devices import CharacterDevice, DeviceFile
from vmguest.fs.devpts import devpts_type
from vmguest.fs.locks import locks_of
from vmguest.fs.memory_devices import MEMORY_DEVICES
from vmguest.fs.namei import Vfs, existing
from vmguest.fs.options import MountOptions
from vmguest.fs.pipe import fifos_of
from vmguest.fs.proc_machine import ProcMachine
from vmguest.fs.proc_tasks import ProcTasks
from vmguest.fs.stream import OutputFile
from vmguest.fs.sysfs import SysfsAttribute, SysfsDirectory
from vmguest.kernel import Kernel

TTY: Final = (5, 0)
CONSOLE: Final = (5, 1)
_LINKS: Final = {
    b"fd": b"/proc/self/fd",
    b"stdin": b"/proc/self/fd/0",
    b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
}
_DIRECTORIES: Final = (b"pts", b"shm")
_MOUNTS: Final = (
    (b"/dev/pts", "devpts", MountOptions()),
    (b"/dev/shm", "tmpfs", MountOptions()),
    (b"/run", "tmpfs", MountOptions(data=("mode=755",))),
)


def add_program_files(kernel: Kernel) -> None:
    """Give a kernel these files; called once, when it has mounted what it boots with."""
    devices = kernel.devices
    fifos_of(kernel.vfs)
    locks_of(kernel.vfs)
    for device in MEMORY_DEVICES:
        devices.register_chrdev(device)
    devices.register_chrdev(CharacterDevice(b"tty", TTY, lambda: _controlling_terminal(kernel)))
    devices.register_chrdev(CharacterDevice(b"console", CONSOLE, lambda: _console(kernel), 0o600))
    devices.links.update(_LINKS)
    devices.directories.extend(_DIRECTORIES)
    kernel.proc_parts += [ProcMachine(kernel), ProcTasks(kernel)]
    kernel.system_devices[b"cpu"] = _cpu_tree()
    kernel.vfs.populate()
    kernel.vfs.types.register(devpts_type(devices))
    for path, type_name, options in _MOUNTS:
        _mount(kernel.vfs, path, type_name, options)


def _cpu_tree() -> SysfsDirectory:
    """Return /sys/devices/system/cpu of a machine with one processor."""
    attributes = {b"possible": "0", b"present": "0", b"online": "0", b"offline": "", b"kernel_max": "0"}
    topology = {b"core_id": "0", b"core_siblings": "1", b"thread_siblings": "1", b"physical_package_id": "0"}
    processor: SysfsDirectory = {b"address": _shown("0"), b"topology": _all_shown(topology)}
    return {b"cpu0": processor, **_all_shown(attributes)}


def _all_shown(texts: dict[bytes, str]) -> SysfsDirectory:
    return {name: _shown(text) for name, text in texts.items()}


def _shown(text: str) -> SysfsAttribute:
    return SysfsAttribute(lambda: f"{text}\n")


def _controlling_terminal(kernel: Kernel) -> DeviceFile:
    """Open the terminal that controls the caller. Raises KernelError(ENXIO) where none does."""
    process = None if kernel.current_pid is None else kernel.processes.get(kernel.current_pid)
    if process is None or process.terminal is None:
        raise KernelError(ENXIO, "/dev/tty: no terminal controls the process")
    return process.terminal.file()


def _console(kernel: Kernel) -> DeviceFile:
    """Open the console, on which the guest's log is."""
    return OutputFile(lambda data: kernel.log.log("notice", data.decode(errors="replace").rstrip("\n")))


def _mount(vfs: Vfs, path: bytes, type_name: str, options: MountOptions) -> None:
    """Mount a file system at a directory, unless there is none or something is mounted there already."""
    place = existing(vfs, path)
    if place is not None and place.inode.is_dir and not place.is_mount_root:
        vfs.graft(vfs.types.get(type_name).mount(None, options, vfs.file_systems), place)

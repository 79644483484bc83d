"""What /proc and /proc/sys show of a guest's machine beside its storage, to programs that ask for that."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from errno import EINVAL
from time import monotonic, time
from typing import Final, NoReturn, Protocol
from uuid import UUID

from dcss.errors import KernelError
from vmguest import utsname
from vmguest.fs.libfs import SimpleInode, TextFile
from vmguest.fs.locks import locks_of
from vmguest.fs.proc_task_text import TICKS_PER_SECOND
from vmguest.fs.process_view import ProcessView
from vmguest.fs.procfs import ROOT, ProcSource, meminfo_text, memory
from vmguest.printk import LogBuffer

PID_MAX: Final = 32_768
HWCAP_NAMES: Final = ("esan3", "zarch", "stfle", "msa", "ldisp", "eimm", "etf3eh", "highgprs")
TAINT_DIE: Final = 1 << 7  # the kernel has failed once (include/linux/panic.h)
MACHINE_TYPE: Final = 0x2964  # a z13
_FIRST_NUMBER: Final = 1 << 12  # of inodes, above those of the files that every guest has
_CPUINFO: Final = f"""\
vendor_id       : IBM/S390
# processors    : 1
bogomips per cpu: 3033.00
max thread id   : 0
features\t: {" ".join(HWCAP_NAMES)} \n\
facilities      :
processor 0: version = FF,  identification = 000000,  machine = {MACHINE_TYPE:04X}

cpu number      : 0
version         : FF
identification  : 000000
machine         : {MACHINE_TYPE:04X}

"""

Tree = dict[bytes, "Tree | Callable[[], str]"]


class MachineSource(ProcSource, Protocol):
    """The kernel whose machine it is."""

    name: str
    log: LogBuffer
    processes: Mapping[int, ProcessView]
    current_pid: int | None
    oopses: int


class ProcMachine:
    """The part of /proc that shows the machine."""

    def __init__(self, kernel: MachineSource) -> None:
        self._kernel = kernel
        self._boot_id: str | None = None
        self._entries: list[Tree | Callable[[], str]] = []
        self._names: dict[int, dict[bytes, int]] = {}
        self._add(ROOT, self._tree())

    def names(self, directory: int) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory."""
        yield from self._names.get(directory, {}).items()

    def inode(self, number: int) -> SimpleInode | None:
        """Return an inode, None for one that is not its own."""
        index = number - _FIRST_NUMBER
        if not 0 <= index < len(self._entries):
            return None
        if isinstance(self._entries[index], dict):
            return SimpleInode(number, stat.S_IFDIR | 0o555, links_count=2)
        return SimpleInode(number, stat.S_IFREG | 0o444)

    def readlink(self, number: int) -> NoReturn:
        """Refuse: nothing here is a link. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"inode {number}: not a symbolic link")

    def open(self, number: int) -> TextFile:
        """Make a file's text."""
        text_of = self._entries[number - _FIRST_NUMBER]
        assert not isinstance(text_of, dict)
        return TextFile(text_of().encode(errors="surrogateescape"))

    def _add(self, directory: int, tree: Tree) -> None:
        names = self._names[directory] = {}
        for name, entry in tree.items():
            names[name] = number = _FIRST_NUMBER + len(self._entries)
            self._entries.append(entry)
            if isinstance(entry, dict):
                self._add(number, entry)

    def _tree(self) -> Tree:
        kernel_values: Tree = {
            b"cap_last_cap": lambda: "40\n",
            b"domainname": lambda: "(none)\n",
            b"hostname": lambda: f"{self._kernel.name}\n",
            b"ngroups_max": lambda: "65536\n",
            b"osrelease": lambda: f"{utsname.RELEASE}\n",
            b"ostype": lambda: f"{utsname.SYSTEM}\n",
            b"overflowgid": lambda: "65534\n",
            b"overflowuid": lambda: "65534\n",
            b"pid_max": lambda: f"{PID_MAX}\n",
            b"random": {
                b"boot_id": self._boot,
                b"entropy_avail": lambda: "256\n",
                b"poolsize": lambda: "256\n",
                b"uuid": _new_uuid,
            },
            b"tainted": lambda: f"{TAINT_DIE if self._kernel.oopses else 0}\n",
            b"threads-max": lambda: "4096\n",
            b"version": lambda: f"{utsname.VERSION}\n",
        }
        return {
            b"cpuinfo": lambda: _CPUINFO,
            b"loadavg": self._loadavg,
            b"locks": lambda: locks_of(self._kernel.vfs).text(),
            b"meminfo": self._meminfo,
            b"stat": self._stat,
            b"swaps": lambda: "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
            b"sys": {
                b"fs": {
                    b"file-max": lambda: "1048576\n",
                    b"nr_open": lambda: "1048576\n",
                    b"pipe-max-size": lambda: "1048576\n",
                },
                b"kernel": kernel_values,
                b"vm": {
                    b"max_map_count": lambda: "65530\n",
                    b"mmap_min_addr": lambda: "4096\n",
                    b"overcommit_memory": lambda: "0\n",
                    b"overcommit_ratio": lambda: "50\n",
                    b"swappiness": lambda: "60\n",
                },
            },
            b"uptime": self._uptime,
        }

    def _boot(self) -> str:
        """Return the id of this boot, made when it is asked for: a clone has one of its own."""
        if self._boot_id is None:
            self._boot_id = _new_uuid()
        return self._boot_id

    def _loadavg(self) -> str:
        processes = self._kernel.processes
        running = sum(process.state == "R" for process in processes.values())
        threads = sum(len(process.threads) for process in processes.values())
        return f"0.00 0.00 0.00 {running}/{threads} {max(processes, default=0)}\n"

    def _meminfo(self) -> str:
        now = memory(self._kernel)
        available_bytes = now.free_bytes + now.cached_bytes + now.buffer_bytes
        more = {
            "MemAvailable": available_bytes,
            "SwapCached": 0,
            "SwapTotal": 0,
            "SwapFree": 0,
            "Shmem": 0,
            "Slab": 0,
            "SReclaimable": 0,
            "CommitLimit": now.total_bytes,
        }
        return meminfo_text(self._kernel) + "".join(
            f"{name + ':':15} {size_bytes >> 10:8} kB\n" for name, size_bytes in more.items()
        )

    def _stat(self) -> str:
        processes = self._kernel.processes.values()
        user = _ticks(sum(process.user_seconds for process in processes))
        system = _ticks(sum(process.system_seconds for process in processes))
        up_seconds = self._up_seconds()
        idle = max(0, _ticks(up_seconds) - user - system)
        times = f"{user} 0 {system} {idle} 0 0 0 0 0 0\n"
        running = sum(process.state == "R" for process in processes)
        return (
            f"cpu  {times}cpu0 {times}intr 0\nctxt 0\nbtime {int(time() - up_seconds)}\n"
            f"processes {max(self._kernel.processes, default=0)}\nprocs_running {running}\nprocs_blocked 0\n"
        )

    def _up_seconds(self) -> float:
        return monotonic() - self._kernel.log.boot_seconds

    def _uptime(self) -> str:
        now = self._up_seconds()
        busy = sum(process.user_seconds + process.system_seconds for process in self._kernel.processes.values())
        return f"{now:.2f} {max(0.0, now - busy):.2f}\n"


def _new_uuid() -> str:
    return f"{UUID(bytes=os.urandom(16), version=4)}\n"


def _ticks(seconds: float) -> int:
    return int(seconds * TICKS_PER_SECOND)

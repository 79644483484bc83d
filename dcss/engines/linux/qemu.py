"""A virtual machine's process: QEMU, its command line, its end."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dcss.engines.linux.launcher import launched
from dcss.errors import LaunchError
from dcss.host.mark import VARIABLE, Mark
from dcss.host.rlimits import explain_fork

PROGRAMS = {"s390x": "qemu-system-s390x", "x86_64": "qemu-system-x86_64"}
PACKAGES = {"s390x": "qemu-system-misc or qemu-system-s390x", "x86_64": "qemu-system-x86"}  # Debian 12 or newer
FIRMWARE_BYTES = 2 << 20  # at the end of storage, where QEMU of s390x puts its own programs


class Machine(NamedTuple):
    """A virtual machine with an s390x CPU, as QEMU is to make it.

    Of its `storage_bytes` the kernel may use the first `own_bytes`; segments lie above.
    """

    name: str
    storage_bytes: int
    own_bytes: int
    cpus: int
    kernel: Path
    append: str
    time_limit_seconds: float | None = None  # for the guest's `run:` list

    def command(self, gdb: int, monitor: int, agent: int, initrd: int) -> list[str]:
        """Return QEMU's words, with the numbers of what it inherits: three sockets, and the initramfs.

        The machine does not run before its gdb stub is told to. Its console is standard output.
        """
        backing = f"memory-backend-ram,id=storage,size={self.storage_bytes},share=off,merge=off"
        parameters = [
            f"mem={self.own_bytes >> 20}M",
            f"possible_cpus={self.cpus}",  # as a guest of z/VM, the kernel would set memory aside for 64
            "console=ttysclp0",  # as a guest of z/VM, the kernel would take the line mode, which QEMU prints wrongly
            "hvc_iucv=0",  # 6.1 ends where that finds no IUCV
            "init_on_free=1",  # freed copies of a segment would count as copies
            "panic=-1",
            self.append,
        ]
        return [
            PROGRAMS["s390x"],
            *("-name", self.name, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-S"),
            *("-machine", "s390-ccw-virtio,memory-backend=storage", "-accel", "tcg", "-cpu", "max"),
            *("-smp", str(self.cpus), "-m", f"{self.storage_bytes >> 20}M", "-object", backing),
            *("-chardev", "stdio,id=console,signal=off", "-device", "sclpconsole,chardev=console"),
            *("-chardev", f"socket,id=gdb,fd={gdb}", "-gdb", "chardev:gdb"),
            *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
            *("-device", "virtio-serial-ccw", "-chardev", f"socket,id=agent,fd={agent}"),
            *("-device", "virtserialport,chardev=agent,name=dcss.agent"),
            # What the kernel frees goes back to the host, while its CPU waits (ioeventfd=off): where QEMU does that
            # beside the CPU, 6.1 often misses the answer, cannot use what it reported, and reports nothing more.
            *("-device", "virtio-balloon-ccw,free-page-reporting=on,ioeventfd=off"),
            *(
                "-kernel",
                str(self.kernel),
                "-initrd",
                f"/proc/self/fd/{initrd}",
                "-append",
                " ".join(parameters).strip(),
            ),
        ]


class QemuProcess:
    """One QEMU, which ends when CP does; what it writes goes to `log`. Raises LaunchError."""

    def __init__(self, command: Sequence[str], inherited: Sequence[int], log: int, mark: Mark) -> None:
        if shutil.which(command[0]) is None:
            package = next(PACKAGES[arch] for arch, program in PROGRAMS.items() if program == command[0])
            raise LaunchError(f"{command[0]} is not installed; install {package}")
        try:
            self._process = subprocess.Popen(
                launched(list(command)),
                pass_fds=inherited,
                stdin=subprocess.PIPE,  # the console's keys: nobody presses any, but for sysrq
                stdout=log,
                stderr=log,
                env={**os.environ, VARIABLE: str(mark)},
                start_new_session=True,  # Ctrl-C reaches CP alone, which then takes its guests down in order
            )
        except OSError as error:
            raise LaunchError(f"QEMU cannot be started: {explain_fork(error)}") from error
        self.pid = self._process.pid
        self.pidfd: int | None = None
        self.exit_status: int | None = None
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = loop.create_future()
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._process.kill()
            self._process.wait()
            raise
        loop.add_reader(self.pidfd, self._wait)

    def kill(self) -> None:
        """End it at once. Nothing happens where it has ended."""
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def _wait(self) -> None:
        assert self.pidfd is not None, "it has been read"
        asyncio.get_running_loop().remove_reader(self.pidfd)
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.close()
        self.exit_status = self._process.wait()
        os.close(self.pidfd)
        self.pidfd = None
        self.ended.set_result(self.exit_status)

"""Find out whether KVM runs a kernel: that /dev/kvm opens says little, so the kernel is booted with it, under a limit.

The trial has no root file system. A kernel that comes up ends it with a panic, which QEMU takes as its end.
"""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

from dcss.engines.base import Accelerator
from dcss.engines.linux.pmem_machine import base_command
from dcss.engines.linux.qemu import QemuProcess
from dcss.errors import LaunchError
from dcss.host.kvm import no_kvm_because
from dcss.host.mark import Mark

_TRIAL_SECONDS: Final = 10.0  # where KVM works, a kernel needs about one
_KILL_SECONDS: Final = 5.0  # from SIGKILL to the end of QEMU, which a KVM that hangs may keep in the host's kernel
_TRIAL_MEMORY: Final = "256M"
_PARAMETERS: Final = "console=ttyS0 panic=-1 root="
_PANIC: Final = b"Kernel panic - not syncing: VFS"
_PRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


async def choose_accelerator(kernel: Path, mark: Mark) -> Accelerator:
    """Return kvm where a kernel comes up with it, otherwise tcg and why."""
    reason = no_kvm_because() or await _trial(kernel, mark)
    return Accelerator("tcg", reason) if reason else Accelerator("kvm")


async def _trial(kernel: Path, mark: Mark) -> str:
    """Boot a kernel with KVM; return what went wrong, nothing where it came up."""
    log = os.memfd_create("dcss-kvm-trial")
    try:
        command = [*base_command("kvm", _TRIAL_MEMORY, kernel), "-append", _PARAMETERS]
        try:
            process = QemuProcess(command, (), log, mark)
        except LaunchError as error:
            return str(error)
        try:
            async with asyncio.timeout(_TRIAL_SECONDS):
                status = await asyncio.shield(process.ended)
        except TimeoutError:
            return f"with KVM the kernel did not come up within {_TRIAL_SECONDS:g} s{_last_line(log)}"
        finally:
            process.kill()
            await asyncio.wait([process.ended], timeout=_KILL_SECONDS)
        came_up = _PANIC in os.pread(log, os.fstat(log).st_size, 0)
        return "" if came_up else f"with KVM, QEMU ended with status {status}{_last_line(log)}"
    finally:
        os.close(log)


def _last_line(log: int) -> str:
    """Return the last line of a trial's console, as the end of a sentence."""
    lines = os.pread(log, os.fstat(log).st_size, 0).decode("latin-1").splitlines()
    shown = [text for line in lines if (text := _PRINTABLE.sub(" ", line).strip())]
    return f": {shown[-1][:200]}" if shown else ""

"""Two guests that read the same libraries: this project's, and QEMU's by virtio-pmem with DAX and by virtio-blk.

QEMU's run Linux and could run programs; ours cannot. They stand here for those who would build sharing by hand. Without
KVM they are slow, which the memory does not depend on.
"""

import time
from functools import partial
from pathlib import Path

from benchmarks.cases.qemu.initramfs import Kernel, build, find_kernel
from benchmarks.cases.qemu.machine import PMEM_STEP_BYTES, MachineFiles, check_qemu, machines
from benchmarks.framework.kernel_books import MIB, total_memory, tree_of
from benchmarks.framework.libraries import config_of, library_image
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session

GUESTS = 2
PRIVATE = "private memory by reading"
SPECS = (
    RowSpec(
        "command to read",
        "s",
        "time",
        f"from the command to {GUESTS} guests that have mounted the image and read every file; ours publish it, too",
    ),
    RowSpec(
        "all memory",
        "MiB",
        "memory",
        f"proportional set sizes and page tables of all processes of {GUESTS} guests that have read every file",
        "the host's page cache of the image file, and slab and stacks of the kernel",
    ),
    RowSpec(
        PRIVATE,
        "MiB",
        "memory",
        "what private pages and page tables are more than before the guests read; ours are compared with idle ones",
        "what guests share: the segment, or the host's page cache of the image file",
    ),
)


def run(session: Session) -> list[Row]:
    """Measure two guests of each kind."""
    with session.directory("qemu") as directory:
        image = library_image(session, directory, 60 * MIB)
        config = config_of(session, f"qemu-{session.name}", image.path, GUESTS, steps="[{read: /usr/lib/*}]")
        idle = config_of(session, f"qemu-idle-{session.name}", image.path, GUESTS, steps="[]")
        disk = directory / "disk"
        disk.write_bytes(image.path.read_bytes() + bytes(-image.path.stat().st_size % PMEM_STEP_BYTES))
        subjects = {
            "dcss": partial(_system, session, config, idle),
            "QEMU, virtio-pmem and DAX": partial(_machines, session, directory, disk, "pmem"),
            "QEMU, virtio-blk": partial(_machines, session, directory, disk, "blk"),
        }
        return compare("qemu", SPECS, subjects, rounds=session.pick(quick=1, full=2), warm_up=False)


def _private_mib(pids: list[int]) -> float:
    memory = total_memory(pids)
    return (memory.private_bytes + memory.page_table_bytes) / MIB


def _all_mib(pids: list[int]) -> float:
    memory = total_memory(pids)
    return (memory.proportional_bytes + memory.page_table_bytes) / MIB


def _system(session: Session, config: Path, idle: Path) -> Sample:
    with session.served("system", str(idle)) as served:
        before_mib = _private_mib(served.ready["pids"])
    with session.served("system", str(config)) as served:
        private_mib = _private_mib(served.ready["pids"]) - before_mib
        all_mib = _all_mib(tree_of(served.pid))
        return {"command to read": served.command_seconds, "all memory": all_mib, PRIVATE: private_mib}


def _machines(session: Session, directory: Path, image: Path, kind: str) -> Sample:
    if session.quick:
        raise Unavailable("starts virtual machines, so it is measured in the full mode only")
    check_qemu()
    kernel, initramfs = _boot_files(directory)
    began = time.monotonic()
    with machines(GUESTS, MachineFiles(kernel.image, initramfs, image), kind) as found:
        pids = [machine.pid for machine in found]
        mounted, before_mib = time.monotonic(), _private_mib(pids)
        reading = time.monotonic()
        for machine in found:
            machine.tell()
        for machine in found:
            machine.wait_for("READ")
        seconds = mounted - began + time.monotonic() - reading
        return {"command to read": seconds, "all memory": _all_mib(pids), PRIVATE: _private_mib(pids) - before_mib}


def _boot_files(directory: Path) -> tuple[Kernel, Path]:
    kernel, initramfs = find_kernel(), directory / "initramfs"
    return kernel, initramfs if initramfs.exists() else build(kernel, directory)

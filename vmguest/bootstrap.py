"""A guest process's entry: takes its descriptors, starts the kernel, runs the workload and sends its verdict."""

import os
import socket
import sys
import traceback
from collections.abc import Sequence
from time import monotonic

from dcss.abi.console import (
    ACCESS,
    COUNTERS,
    COUNTERS_REQUEST,
    EXEC_REQUEST,
    PACKET_BYTES,
    VERDICT,
    Verdict,
    pack_access,
)
from dcss.errors import DcssError, KernelError
from vmguest.hostmem import Reservation
from vmguest.kernel import Kernel
from vmguest.printk import KernelPanicError
from vmguest.spec import GuestSpec
from vmguest.workload import STEPS, matches

FAILED = 1  # exit status of a guest whose workload failed
CRASHED = 70  # exit status of a guest whose kernel did (sysexits.h: EX_SOFTWARE)


def boot(
    spec: GuestSpec, reservation: Reservation, port: socket.socket, console: int | None, disks: Sequence[int] = ()
) -> Kernel:
    """Start a kernel with its devices and mounts; `disks` are the descriptors of the specification's disks.

    Raises KernelError or Ext2FormatError.
    """
    segments = ",".join(spec.dcssblk)
    command_line = f"dcssblk.segments={segments}"
    kernel = Kernel(reservation, spec.storage_bytes, port, console, name=spec.name, command_line=command_line)
    kernel.dcssblk.load_module(segments)
    if spec.disks:
        from vmguest.block.file import FileDisk, add_file_disks  # imported by the fork server; most guests have none

        named = zip(spec.disks, disks, strict=True)
        add_file_disks(kernel.block_devices, [FileDisk(name, number, writable) for (name, writable), number in named])
    for device, at, options, mode in spec.mounts:
        kernel.mount(device, at, options, mode)
    if any(mode for *_, mode in spec.mounts):
        from vmguest.block.modes import drop_sources

        drop_sources(kernel.block_devices, kernel.dcssblk)
    return kernel


def run_guest(
    spec: GuestSpec,
    reservation: Reservation,
    port: socket.socket,
    console: socket.socket,
    disks: Sequence[int] = (),
) -> int:
    """Run one guest until the host closes its console; return the process's exit status."""
    started = monotonic()
    place = ""
    try:
        kernel = boot(spec, reservation, port, sys.stdout.fileno(), disks)
        if kernel.access:
            console.send(ACCESS + pack_access(kernel.access), socket.MSG_NOSIGNAL)
        for number, step in enumerate(spec.run):
            place = f"run[{number}]: "
            _run_step(kernel, *step)
        verdict = Verdict(0, monotonic() - started, *kernel.counters())
    except DcssError as error:
        verdict = _failed(FAILED, started, f"{spec.name}: {place}{_reason(error)}")
    except Exception as error:
        os.write(sys.stderr.fileno(), traceback.format_exc().encode(errors="replace"))
        verdict = _failed(CRASHED, started, f"{spec.name}: kernel crashed: {error!r}")
    except KernelPanicError as error:
        verdict = _failed(CRASHED, started, f"{spec.name}: {place}{_panic(error)}")
    console.send(VERDICT + verdict.pack(), socket.MSG_NOSIGNAL)
    if verdict.exit_status == 0:
        try:
            _serve(kernel, console)
            kernel.power_off()
        except KernelPanicError as error:
            kernel.log.log("emerg", _panic(error))
            return CRASHED
    return verdict.exit_status


def _panic(error: KernelPanicError) -> str:
    return f"Kernel panic - not syncing: {error}"


def _run_step(kernel: Kernel, verb: str, *words: str) -> None:
    if verb == "exec":
        from vmguest.shell.serve import exec_step  # imported by the fork server; the host does without

        exec_step(kernel, words)
    elif verb == "load":
        for dentry in matches(kernel.vfs, *words):
            kernel.modules.load(kernel.vfs, dentry)
    else:
        STEPS[verb](kernel.init, *words)


def _reason(error: DcssError) -> str:
    """Return what an error says; the number of an errno means nothing to a reader."""
    return error.strerror if isinstance(error, KernelError) and error.strerror else str(error)


def _serve(kernel: Kernel, console: socket.socket) -> None:
    """Answer requests until the host closes its side: the guest is taken down."""
    while packet := console.recv(PACKET_BYTES):
        try:
            if packet == COUNTERS_REQUEST:
                console.send(COUNTERS + kernel.counters().pack(), socket.MSG_NOSIGNAL)
            elif packet.startswith(EXEC_REQUEST):
                from vmguest.shell.serve import serve_exec

                serve_exec(kernel, console, packet)
        except ConnectionError:
            return  # taken down while it answered


def _failed(exit_status: int, started: float, message: str) -> Verdict:
    os.write(sys.stderr.fileno(), f"{message}\n".encode(errors="replace"))
    return Verdict(exit_status, monotonic() - started, 0, 0, 0, 0, message)

"""The fork server: has everything imported that a guest needs, and forks one process per guest.

It is exec'd before the first segment is published, so no guest inherits what CP holds. A SEQPACKET socket leads to CP;
dcss.engines.process.packets describes what goes through it.
"""

import fcntl
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from errno import EMFILE, ENOMEM
from types import FrameType
from typing import NoReturn

from dcss.engines.process.families import Child, GuestFamilies, end_children, send_message
from dcss.engines.process.heap import fill_holes
from dcss.engines.process.packets import MAX_DESCRIPTORS, PACKET_BYTES, unpack_kill
from dcss.engines.process.rehearsal import rehearse
from dcss.host.libc import leave_freed_memory
from dcss.host.prctl import adopt_orphans, die_with, set_name
from dcss.host.rlimits import explain_fork
from vmguest import hostmem
from vmguest.bootstrap import CRASHED, run_guest
from vmguest.hostmem import Reservation
from vmguest.spec import GuestSpec
from vmguest.workload import prepare

_LOG, _STDERR, _PORT, _CONSOLE = 1, 2, 3, 4
_FIRST_DISK = 5
_HIGHEST = 1 << 20


def preload() -> None:
    """Import what guests import late, so that they share these modules and no guest loads one of its own."""
    import vmguest.block.dcssblk_sysfs
    import vmguest.block.file
    import vmguest.block.genhd_sysfs
    import vmguest.block.modes
    import vmguest.fs.devfs
    import vmguest.fs.procfs
    import vmguest.fs.sysfs
    import vmguest.fs.tmpfs
    import vmguest.init
    import vmguest.module
    import vmguest.shell.serve  # noqa: F401


def serve(control: socket.socket) -> None:
    """Serve until CP closes its end; then end, and every guest with it."""
    reservation = hostmem.reserve()
    preload()
    rehearse(reservation)
    send_message(control, {"event": "hello", "reservation": reservation}, None)
    gc.collect()
    leave_freed_memory()
    fill_holes()
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    family = GuestFamilies(control, selector)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                family.process_ended(key)
                continue
            try:
                packet, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, MAX_DESCRIPTORS)
            except ConnectionResetError:
                return
            if not packet:
                return
            victim = unpack_kill(packet)
            if victim is not None:
                _kill(selector, victim)
            else:
                _answer(control, selector, packet, descriptors, reservation)


def _answer(
    control: socket.socket,
    selector: selectors.BaseSelector,
    packet: bytes,
    descriptors: list[int],
    reservation: Reservation,
) -> None:
    """Start the guest that CP asks for, or report why it cannot be started: others can be."""
    spec = GuestSpec.unpack(packet)
    try:
        pid, pidfd = _spawn(spec, descriptors, reservation)
    except MemoryError:
        reason = explain_fork(OSError(ENOMEM, os.strerror(ENOMEM)))
        send_message(control, {"event": "refused", "name": spec.name, "reason": reason}, None)
        return
    except OSError as error:
        send_message(control, {"event": "refused", "name": spec.name, "reason": explain_fork(error)}, None)
        return
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    selector.register(pidfd, selectors.EVENT_READ, Child(spec.name, pid, is_guest=True))
    send_message(control, {"event": "started", "name": spec.name, "pid": pid}, pidfd)


def _kill(selector: selectors.BaseSelector, pid: int) -> None:
    """Kill a guest, unless it has ended: then its number may be another process's."""
    for key in selector.get_map().values():
        if key.data is not None and key.data.pid == pid:
            signal.pidfd_send_signal(key.fd, signal.SIGKILL)


def _spawn(spec: GuestSpec, descriptors: list[int], reservation: Reservation) -> tuple[int, int]:
    if len(descriptors) != 3 + len(spec.disks):  # the kernel leaves out what it has no number for
        raise OSError(EMFILE, os.strerror(EMFILE))
    for verb, *words in spec.run:
        if verb != "exec":
            prepare(*words)
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_guest(spec, descriptors, reservation, server)
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _become_guest(spec: GuestSpec, descriptors: list[int], reservation: Reservation, server: int) -> NoReturn:
    status = CRASHED
    try:
        die_with(server)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        adopt_orphans()  # whatever a process of this guest forks stays below it, and is known as the guest's
        set_name(f"dcss:{spec.name}")
        disks = range(_FIRST_DISK, _FIRST_DISK + len(spec.disks))
        # Copies above the targets first, so that no dup2 closes a descriptor that is still to be placed.
        copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, disks.stop) for descriptor in descriptors]
        for source, target in zip([*copies, copies[2]], [_PORT, _CONSOLE, _LOG, *disks, _STDERR], strict=True):
            os.dup2(source, target)
        os.closerange(disks.stop, _HIGHEST)
        port, console = socket.socket(fileno=_PORT), socket.socket(fileno=_CONSOLE)
        status = run_guest(spec, reservation, port, console, disks)
    except BaseException:  # a fault of ours: nobody else would see its traceback
        os.write(_STDERR, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(status)


def main() -> None:
    """Entry of the exec'd server: its arguments are the control socket's descriptor and CP's process id."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGTERM, _end)
    die_with(parent, signal.SIGTERM)  # not SIGKILL: what guests forked would survive
    adopt_orphans()
    set_name("dcss:forkserver")
    try:
        try:
            serve(socket.socket(fileno=descriptor))
        finally:
            end_children()
    finally:
        end_children()  # once more, should SIGTERM have come just then


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # it raises once
    sys.exit(128 + number)

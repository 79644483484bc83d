"""The fork server: has everything imported that a guest needs, and forks one process per guest.

It is exec'd before the first segment is published, so no guest inherits what CP holds. A SEQPACKET socket leads to CP:

    CP -> server    a GuestSpec, with the guest's hypercall socket, console socket and log as descriptors
    server -> CP    hello with the addresses that it reserved; then, for each guest, started with a pidfd, and ended
"""

import array
import fcntl
import gc
import json
import os
import selectors
import socket
import sys
from typing import NoReturn

from dcss.launch.lifeline import die_with, set_name
from vmguest import hostmem
from vmguest.bootstrap import CRASHED, GuestSpec, run_guest
from vmguest.hostmem import Reservation
from vmguest.workload import prepare

PACKET_BYTES = 1 << 17
_LOG, _STDERR, _PORT, _CONSOLE = 1, 2, 3, 4
_FIRST_UNUSED = 5
_HIGHEST = 1 << 20


def serve(control: socket.socket) -> None:
    """Serve until CP closes its end; then end, and every guest with it."""
    reservation = hostmem.reserve()
    import vmguest.shell.serve  # noqa: F401 - before any fork, so that a guest that runs a command need not

    _send(control, {"event": "hello", "reservation": reservation}, None)
    gc.collect()
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                try:
                    packet, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, 3)
                except ConnectionResetError:
                    return
                if not packet:
                    return
                name, pid, pidfd = _spawn(packet, descriptors, reservation)
                selector.register(pidfd, selectors.EVENT_READ, (name, pid))
                _send(control, {"event": "started", "name": name, "pid": pid}, pidfd)
            else:
                name, pid = key.data
                selector.unregister(key.fd)
                os.close(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                _send(control, {"event": "ended", "name": name, "pid": pid, "status": status}, None)


def _spawn(packet: bytes, descriptors: list[int], reservation: Reservation) -> tuple[str, int, int]:
    spec = GuestSpec.unpack(packet)
    for _, argument in spec.run:
        prepare(argument)
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_guest(spec, descriptors, reservation, server)
    for descriptor in descriptors:
        os.close(descriptor)
    return spec.name, pid, os.pidfd_open(pid)


def _become_guest(spec: GuestSpec, descriptors: list[int], reservation: Reservation, server: int) -> NoReturn:
    status = CRASHED
    try:
        die_with(server)
        set_name(f"dcss:{spec.name}")
        # Copies above the targets first, so that no dup2 closes a descriptor that is still to be placed.
        port, console, log = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FIRST_UNUSED) for descriptor in descriptors)
        for source, target in ((port, _PORT), (console, _CONSOLE), (log, _LOG), (log, _STDERR)):
            os.dup2(source, target)
        os.closerange(_FIRST_UNUSED, _HIGHEST)
        status = run_guest(spec, reservation, socket.socket(fileno=_PORT), socket.socket(fileno=_CONSOLE))
    finally:
        os._exit(status)


def _send(control: socket.socket, message: dict[str, object], descriptor: int | None) -> None:
    ancillary = []
    if descriptor is not None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
    control.sendmsg([json.dumps(message).encode()], ancillary)


def main() -> None:
    """Entry of the exec'd server: its arguments are the control socket's descriptor and CP's process id."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    set_name("dcss:forkserver")
    serve(socket.socket(fileno=descriptor))

"""The fork server: has everything imported that a guest needs, and forks one process per guest.

It is exec'd before the first segment is published, so no guest inherits what CP holds. A SEQPACKET socket leads to CP;
dcss.engines.forked.packets describes what goes through it.
"""

import gc
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple, NoReturn

from dcss.engines.forked.entries import Entries, Entry, kill_child
from dcss.engines.forked.families import Child, GuestFamilies, end_children, send_message
from dcss.engines.forked.guest_process import GuestForker, GuestProgram
from dcss.engines.forked.heap import fill_holes
from dcss.engines.forked.hot_code import note_functions
from dcss.engines.forked.packets import LOG, MAX_DESCRIPTORS, PACKET_BYTES, unpack_kill
from dcss.host.libc import leave_freed_memory
from dcss.host.prctl import adopt_orphans, die_with, set_name
from vmguest import hostmem
from vmguest.hostmem import Reservation
from vmguest.spec import GuestSpec


class GuestKind(NamedTuple):
    """What the guests of an engine are: how the server prepares for them, and what each process runs.

    With `overwrites_freed_memory`, what a guest frees is not left in its heap: copies of files pass through there.
    """

    preload: Callable[[], None]
    rehearse: Callable[[Reservation], None]
    run: GuestProgram
    overwrites_freed_memory: bool = False


def serve(control: socket.socket, guests: GuestKind) -> None:
    """Serve until CP closes its end; then end, and every guest with it."""
    reservation = hostmem.reserve()
    guests.preload()
    guests.rehearse(reservation)
    send_message(control, {"event": "hello", "reservation": reservation}, None)
    gc.collect()
    if not guests.overwrites_freed_memory:
        leave_freed_memory()
    note_functions()
    fill_holes()
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    families = GuestFamilies(control, selector)
    entries = Entries(control, selector, GuestForker(reservation, guests.run), families.end_orphans)
    while True:
        ready = selector.select(entries.patience_seconds)
        if not ready:
            entries.look_at_first()
        for key, _ in ready:
            if isinstance(key.data, Child):
                families.process_ended(key)
            elif isinstance(key.data, Entry):
                entries.heard(key.data)
            elif not _serve_cp(control, selector, entries):
                return


def _serve_cp(control: socket.socket, selector: selectors.BaseSelector, entries: Entries) -> bool:
    """Do what CP asks for; return False where it has gone."""
    try:
        packet, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, MAX_DESCRIPTORS)
    except ConnectionResetError:
        return False
    if not packet:
        return False
    if packet == LOG:
        _log_to(descriptors)
        return True
    victim = unpack_kill(packet)
    if victim is not None:
        kill_child(selector, victim)
    else:
        entries.start(GuestSpec.unpack(packet), descriptors)
    return True


def _log_to(descriptors: Sequence[int]) -> None:
    """Have this process's faults, and those of guests that are not started yet, go to the descriptor that came."""
    for log in descriptors:  # none has come where CP has no number left
        for number in (1, 2):
            os.dup2(log, number)
        os.close(log)


def main(guests: GuestKind) -> None:
    """Serve as the exec'd process: its arguments are the control socket's descriptor and CP's process id."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGTERM, _end)
    die_with(parent, signal.SIGTERM)  # not SIGKILL: what guests forked would survive
    adopt_orphans()
    set_name("dcss:forkserver")
    try:
        try:
            serve(socket.socket(fileno=descriptor), guests)
        finally:
            end_children()
    finally:
        end_children()  # once more, should SIGTERM have come just then


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # it raises once
    sys.exit(128 + number)

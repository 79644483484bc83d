"""The descriptors of a guest's process: a few numbers that are the same in every guest, and no others."""

import fcntl
import os
from collections.abc import Sequence

LOG, STDERR, PORT, CONSOLE = 1, 2, 3, 4
FIRST_DISK = 5
SENT = 3  # of these the server is sent: port, console and log; disks come behind them
_HIGHEST = 1 << 20


def place(sent: Sequence[int], kept: Sequence[int] = ()) -> int:
    """Put the descriptors that came for a guest, and behind its disks those of `kept`, where they belong.

    All others above standard input are closed. Return the number of the first that is kept.
    """
    port, console, log, *disks = sent
    wanted = [log, log, port, console, *disks, *kept]
    end = LOG + len(wanted)
    # Copies above the targets first, so that no dup2 closes a descriptor that is still to be placed.
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, end) for descriptor in wanted]
    for target, copy in enumerate(copies, LOG):
        os.dup2(copy, target)
    os.closerange(end, _HIGHEST)
    return FIRST_DISK + len(disks)

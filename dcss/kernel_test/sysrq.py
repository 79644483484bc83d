"""Ask the kernel of a machine that does not answer for its stacks, by keys on its console.

Source: sclp_vt220.c of Linux: on a VT220 console, Ctrl-O and a key are what Alt, SysRq and that key are on a PC. A
kernel takes them while its CPUs take interrupts.
"""

import time
from contextlib import suppress
from typing import Final

_MAGIC: Final = b"\x0f"
_KEYS: Final = b"lw"  # what the CPUs do, and tasks that are blocked
_WAIT_SECONDS: Final = 2.0  # for each: what is printed passes CP's log


def ask_for_stacks(pid: int) -> None:
    """Press the keys on the console of QEMU process `pid`, which is its standard input, and wait for the answer."""
    with suppress(OSError), open(f"/proc/{pid}/fd/0", "wb", buffering=0) as console:  # it has ended
        for key in _KEYS:
            console.write(_MAGIC + bytes([key]))
            time.sleep(_WAIT_SECONDS)

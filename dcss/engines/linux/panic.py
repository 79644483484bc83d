"""Why a kernel gave up, by the last words that it printed."""

import os
import re
from typing import Final

_TAIL_BYTES: Final = 256 << 10
_PANIC: Final = re.compile(rb"Kernel panic - not syncing: ([^\r\n]*)")


def panic_since(log: int, offset_bytes: int) -> str | None:
    """Return what a kernel that panicked says of it in its log from `offset_bytes` on; None where it did not."""
    try:
        with open(f"/proc/self/fd/{log}", "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset_bytes, end - _TAIL_BYTES))
            found = _PANIC.findall(file.read())
    except OSError:  # a log that cannot be read again
        return None
    return found[0].decode("utf-8", "replace").strip() if found else None

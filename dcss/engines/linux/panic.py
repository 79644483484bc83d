"""Why a kernel gave up, by the last words that it printed."""

import os
import re
from typing import Final

_TAIL_BYTES: Final = 256 << 10
_PANIC: Final = re.compile(rb"Kernel panic - not syncing: ([^\r\n]*)")
_OOPS: Final = re.compile(rb"(?:Unable to handle kernel |kernel BUG at |Oops: )[^\r\n]*")
_OOPSED: Final = "Fatal exception"  # how the panic of an oops is told, without what it was
_NOTED: Final = b"cp: "  # how lines of CP's own begin
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")
_LINE_LETTERS: Final = 100  # that are quoted of each


def panic_since(log: int, offset_bytes: int) -> str | None:
    """Return what a kernel that panicked says of it in its log from `offset_bytes` on; None where it did not.

    Where an oops was why, its first line is told, too.
    """
    printed = _end_of(log, offset_bytes)
    found = _PANIC.search(printed)
    if found is None:
        return None
    said = found[1].decode("utf-8", "replace").strip()
    oops = _OOPS.search(printed, 0, found.start()) if said.startswith(_OOPSED) else None
    return said if oops is None else f"{said}: {oops[0][:_LINE_LETTERS].decode('utf-8', 'replace').strip()}"


def last_words_since(log: int, offset_bytes: int) -> str:
    """Return the last two lines that a machine printed in its log from `offset_bytes` on."""
    lines = [line for line in _end_of(log, offset_bytes).splitlines() if not line.startswith(_NOTED)]
    said = [text for line in lines if (text := _UNPRINTABLE.sub(" ", line.decode("latin-1")).strip())]
    return " / ".join(text[:_LINE_LETTERS] for text in said[-2:])


def _end_of(log: int, offset_bytes: int) -> bytes:
    try:
        with open(f"/proc/self/fd/{log}", "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(offset_bytes, end - _TAIL_BYTES))
            return file.read()
    except OSError:  # a log that cannot be read again
        return b""

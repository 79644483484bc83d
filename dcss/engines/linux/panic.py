"""Why a kernel gave up, by the last words that it printed."""

import os
import re
from typing import Final

_TAIL_BYTES: Final = 256 << 10
_PANIC: Final = re.compile(rb"Kernel panic - not syncing: ([^\r\n]*)")


_NOTED: Final = b"cp: "  # how lines of CP's own begin
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")
_LINE_LETTERS: Final = 100  # that are quoted of each


def panic_since(log: int, offset_bytes: int) -> str | None:
    """Return what a kernel that panicked says of it in its log from `offset_bytes` on; None where it did not."""
    found = _PANIC.findall(_end_of(log, offset_bytes))
    return found[0].decode("utf-8", "replace").strip() if found else None


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

"""Lines of CP's own in a machine's log, which is otherwise its console."""

import os
from contextlib import suppress


def note(log: int, line: str) -> None:
    """Write a line, unless the disk is full."""
    with suppress(OSError):
        os.write(log, f"cp: {line}\n".encode())

"""The first thing that the process of a virtual machine runs: it ties itself to CP's life, and becomes QEMU."""

import os
import sys
from pathlib import Path

from dcss.host.prctl import die_with

ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from dcss.engines.linux.launcher import main; main()"


def launched(command: list[str]) -> list[str]:
    """Return the words that run `command` and end it when this process ends."""
    return [sys.executable, "-I", "-S", "-c", _PROGRAM.format(root=str(ROOT)), str(os.getpid()), *command]


def main() -> None:
    """Run as the exec'd process: its arguments are CP's process id and QEMU's words."""
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])

"""The guest's small shell: runs a command with its words, and answers with output and an exit status."""

import os
from collections.abc import Sequence

from vmguest.kernel import Kernel
from vmguest.shell.streams import Sink, Stream

NOT_FOUND = 127


class Shell:
    """One shell of a guest, at / with nothing redirected."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def run(self, words: Sequence[bytes], stdout: Sink, stderr: Sink) -> int:
        """Run one command and return its exit status."""
        out, err = Stream(stdout), Stream(stderr)
        err.line(f"{os.fsdecode(words[0])}: command not found")
        out.flush()
        err.flush()
        return NOT_FOUND

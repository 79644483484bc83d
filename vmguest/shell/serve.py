"""Commands from outside, each in a shell of its own: from the console, or as a step of the `run:` list."""

import os
import shlex
import socket
import sys

from dcss.errors import StepError
from vmguest.console import EXIT_STATUS, OUTPUT_BYTES, STATUS, STDERR, STDOUT, unpack_exec
from vmguest.kernel import Kernel
from vmguest.shell.shell import Shell
from vmguest.shell.streams import Sink


def serve_exec(kernel: Kernel, console: socket.socket, packet: bytes) -> None:
    """Run the command of an exec packet and send its output and status. Raises OSError where the host is gone."""
    status = Shell(kernel).run(unpack_exec(packet), _sender(console, STDOUT), _sender(console, STDERR))
    console.send(STATUS + EXIT_STATUS.pack(status), socket.MSG_NOSIGNAL)


def exec_step(kernel: Kernel, words: tuple[str, ...]) -> None:
    """Run a step's command, output to the guest's log. Raises StepError for a status other than 0."""
    log = sys.stdout.fileno()

    def write(data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(log, view) :]

    status = Shell(kernel).run(words, write, write)
    if status != 0:
        raise StepError(f"exec {shlex.join(words)}: exit status {status}")


def _sender(console: socket.socket, kind: bytes) -> Sink:
    def send(data: bytes | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), OUTPUT_BYTES):
            # Gathered by the host's kernel: a file's bytes go from the segment into the socket, and not through Python.
            console.sendmsg([kind, view[start : start + OUTPUT_BYTES]], [], socket.MSG_NOSIGNAL)

    return send

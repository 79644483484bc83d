"""Commands from outside, each in a shell of its own: from the console, or as a step of the `run:` list."""

import os
import shlex
import socket
import sys
import time

from dcss.abi.console import CANCEL_REQUEST, EXIT_STATUS, OUTPUT_BYTES, STATUS, STDERR, STDOUT, unpack_exec
from dcss.errors import StepError
from vmguest.kernel import Kernel
from vmguest.shell.shell import Shell
from vmguest.shell.streams import Sink

CANCELLED = 130  # a shell's status of a command that Ctrl-C (SIGINT) ended
_LOOK_SECONDS = 0.1  # between looks of a command that waits


class CancelledError(ConnectionError):
    """Whoever asked for the command has gone: no command goes on then, as where a sink is gone."""


def serve_exec(kernel: Kernel, console: socket.socket, packet: bytes) -> None:
    """Run the command of an exec packet and send its output and status. Raises OSError where the host is gone."""
    out, err = _sender(console, STDOUT), _sender(console, STDERR)
    try:
        status = Shell(kernel, wait=lambda seconds: _wait(console, seconds)).run(unpack_exec(packet), out, err)
    except CancelledError:
        status = CANCELLED
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


def _wait(console: socket.socket, seconds: float) -> None:
    """Wait, and look now and then whether the host cancels the command. Raises CancelledError."""
    end = time.monotonic() + seconds
    while True:
        _check_cancelled(console)
        left_seconds = end - time.monotonic()
        if left_seconds <= 0:
            return
        time.sleep(min(left_seconds, _LOOK_SECONDS))


def _check_cancelled(console: socket.socket) -> None:
    """Raise CancelledError where the host says so; whatever else it says stays for later."""
    try:
        head = console.recv(len(CANCEL_REQUEST), socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return
    if head == CANCEL_REQUEST:
        console.recv(len(CANCEL_REQUEST))
        raise CancelledError("cancelled by the host")


def _sender(console: socket.socket, kind: bytes) -> Sink:
    def send(data: bytes | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), OUTPUT_BYTES):
            _check_cancelled(console)
            # Gathered by the host's kernel: a file's bytes go from the segment into the socket, and not through Python.
            console.sendmsg([kind, view[start : start + OUTPUT_BYTES]], [], socket.MSG_NOSIGNAL)

    return send

"""What runs the commands of a guest's user level: the small shell, or programs (vmguest.s390x)."""

import socket
from typing import NamedTuple, Protocol

from dcss.abi.console import COUNTERS, COUNTERS_REQUEST, EXEC_REQUEST, PACKET_BYTES
from vmguest.kernel import Kernel


class CommandStep(NamedTuple):
    """An `exec` step: its number in the `run:` list, its words, and when it must have ended, by the monotonic clock."""

    number: int
    words: tuple[str, ...]
    deadline: float | None = None


class UserLevel(Protocol):
    """Runs commands: the steps of the `run:` list, and then what the host asks for."""

    def prepare_clones(self, kernel: Kernel, pattern: str | None) -> None:
        """Get ready what clones of the guest share. Nothing of the guest changes; `pattern` matches files of it."""
        ...

    def run_step(self, kernel: Kernel, step: CommandStep) -> None:
        """Run an `exec` step, output to the guest's log. Raises StepError for a status other than 0."""
        ...

    def serve(self, kernel: Kernel, console: socket.socket) -> None:
        """Do what the host asks for until it closes its side: the guest is taken down."""
        ...


class ShellLevel:
    """The guest's own shell, one command after the other."""

    def prepare_clones(self, kernel: Kernel, pattern: str | None) -> None:
        """Run a few commands on a file that matches."""
        if pattern is not None:
            from vmguest.shell.rehearsal import rehearse_commands  # imported by the fork server

            rehearse_commands(kernel, pattern)

    def run_step(self, kernel: Kernel, step: CommandStep) -> None:
        """Run a step's command. Raises StepError."""
        from vmguest.shell.serve import exec_step  # imported by the fork server; the host does without

        exec_step(kernel, step.words)

    def serve(self, kernel: Kernel, console: socket.socket) -> None:
        """Answer requests until the host closes its side."""
        while packet := console.recv(PACKET_BYTES):
            try:
                if packet == COUNTERS_REQUEST:
                    console.send(COUNTERS + kernel.counters().pack(), socket.MSG_NOSIGNAL)
                elif packet.startswith(EXEC_REQUEST):
                    from vmguest.shell.serve import serve_exec

                    serve_exec(kernel, console, packet)
            except ConnectionError:
                return  # taken down while it answered


SHELL = ShellLevel()

"""Fork guests: each has its process, and in it the descriptors that came for it and no others."""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from errno import EMFILE
from typing import NamedTuple, NoReturn, Protocol

from dcss.abi.console import Start
from dcss.engines.forked import descriptors
from dcss.engines.forked.families import open_child
from dcss.engines.forked.template import TemplateMaker
from dcss.host.prctl import tie_child
from vmguest.bootstrap import CRASHED, GuestHost
from vmguest.cloning import CloneMaker
from vmguest.hostmem import Reservation
from vmguest.spec import GuestSpec
from vmguest.workload import prepare


class Asked(NamedTuple):
    """A guest that CP asked for, and the descriptors that came for it."""

    spec: GuestSpec
    sent: Sequence[int]


class GuestProgram(Protocol):
    """What a guest's process does: vmguest.bootstrap.run_guest for one."""

    def __call__(self, spec: GuestSpec, host: GuestHost, *, start: Start | None, clones: CloneMaker | None) -> int:
        """Run a guest until the host closes its console; return the process's exit status."""
        ...


class GuestForker:
    """Forks guests of one engine, each of which runs `program` with the addresses of `reservation`."""

    def __init__(self, reservation: Reservation, program: GuestProgram) -> None:
        self._reservation, self._program = reservation, program

    def fork(self, asked: Asked, start: Start, template_control: int | None = None) -> tuple[int, int]:
        """Fork a guest that boots in full; return its process id and a descriptor of it.

        `start` is what it says of how it was started. With `template_control`, a socket, it makes a template of itself.
        Raises OSError, also where not all its descriptors came.
        """
        spec = asked.spec
        if len(asked.sent) != descriptors.SENT + len(spec.disks):  # the kernel leaves out what it has no number for
            raise OSError(EMFILE, os.strerror(EMFILE))
        for verb, *words in spec.run:
            if verb != "exec":
                prepare(*words)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_guest(asked, server, start, template_control)
        return pid, open_child(pid)

    def _become_guest(self, asked: Asked, server: int, start: Start, template_control: int | None) -> NoReturn:
        status = CRASHED
        try:
            tie_child(server, f"dcss:{asked.spec.name}".encode())
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kept = [] if template_control is None else [template_control, sys.stderr.fileno()]
            first_kept = descriptors.place(asked.sent, kept)
            disks = range(descriptors.FIRST_DISK, first_kept)
            clones = None if template_control is None else TemplateMaker(server, first_kept, first_kept + 1)
            port, console = socket.socket(fileno=descriptors.PORT), socket.socket(fileno=descriptors.CONSOLE)
            host = GuestHost(self._reservation, port, console, disks)
            status = self._program(asked.spec, host, start=start, clones=clones)
        except BaseException:  # a fault of ours: nobody else would see its traceback
            os.write(descriptors.STDERR, traceback.format_exc().encode(errors="replace"))
        finally:
            os._exit(status)

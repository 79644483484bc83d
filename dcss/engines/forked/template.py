"""A template: a process that was forked from a guest that had booted, and is forked for the other guests of its entry.

It maps no segment, has no port and no console, and runs nothing of the guest's. What goes through the socket between it
and the fork server:

    guest -> server      ready   now is the time to fork the template; or refused and why
    server -> guest      fork    the server waits for what follows: no process appears that it knows nothing of
    template -> server   template and its process id
    server -> template   a guest's name, with its descriptors
    template -> server   forked and the guest's process id; or failed and an errno
    a guest -> server    differs  CP answers it otherwise than the first one: the template is of no use any more
"""

import fcntl
import gc
import os
import socket
import traceback
from contextlib import suppress
from errno import EMFILE
from os import close, dup2
from resource import RLIMIT_NOFILE, getrlimit
from struct import Struct, iter_unpack
from time import monotonic

from dcss.abi.hypercall import Ancillary
from dcss.engines.forked import descriptors
from dcss.engines.forked.heap import fill_holes
from dcss.host.fork import fork_sibling
from dcss.host.prctl import die_with, set_name, tie_child
from vmguest.boot_record import BootDiffersError, BootRecord
from vmguest.cloning import Clone

READY, REFUSED, FORK, TEMPLATE, FORKED, FAILED, DIFFERS = (
    b"ready", b"refused", b"fork", b"template", b"forked", b"failed", b"differs",
)  # fmt: skip
PACKET_BYTES = 4096
_DESCRIPTORS = Struct(f"{descriptors.SENT}i")
_DESCRIPTORS_SPACE_BYTES = socket.CMSG_SPACE(_DESCRIPTORS.size)
_FAULTS = 64  # a number that no descriptor of a boot has, unless it loads so many segments


def pack(kind: bytes, *words: object) -> bytes:
    """Return a packet of this kind."""
    return b" ".join([kind, *(str(word).encode() for word in words)])


class TemplateMaker:
    """In the first guest of an entry: makes the template, which makes the others (vmguest.cloning.CloneMaker).

    `server` is the process id of the fork server, `control` the socket to it, `faults` where a template tells its own.
    """

    def __init__(self, server: int, control: int, faults: int) -> None:
        self._server, self._control = server, socket.socket(fileno=control)
        # Out of the way of the segments' descriptors, which clones have under the same numbers.
        self._faults = fcntl.fcntl(faults, fcntl.F_DUPFD_CLOEXEC, min(_FAULTS, getrlimit(RLIMIT_NOFILE)[0] - 1))
        os.close(faults)

    def refuse(self, reason: str) -> None:
        """Tell the server why there is no template."""
        with suppress(ConnectionError):  # it waits for none any more
            self._control.send(pack(REFUSED, reason))
        self._close()

    def make(self, record: BootRecord) -> Clone | None:
        """Fork the template; return None in this guest, and in the clones what they are."""
        gc.collect()
        fill_holes()
        gc.freeze()
        if not self._may_fork():
            self._close()
            return None
        record.withhold(withheld=True)
        try:
            pid = fork_sibling()
        except OSError as error:
            record.withhold(withheld=False)
            self.refuse(f"its template cannot be forked: {error}")
            return None
        if pid:
            record.withhold(withheld=False)
            self._close()
            return None
        try:
            return self._serve(record)
        except BaseException:
            traceback.print_exc()  # into CP's log
            os._exit(1)

    def _may_fork(self) -> bool:
        """Ask the server; return False where it does not want a template of this guest any more."""
        try:
            self._control.send(READY)
            return self._control.recv(PACKET_BYTES) == FORK
        except ConnectionError:
            return False

    def _serve(self, record: BootRecord) -> Clone:
        """Be the template until the server has no more use for it. Return in each guest that is forked of it."""
        die_with(self._server)
        set_name("dcss:template")
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), descriptors.LOG)
        os.dup2(self._faults, descriptors.STDERR)
        record.give_up()
        repeat = record.repeater()
        for descriptor in (self._faults, descriptors.PORT, descriptors.CONSOLE):
            os.close(descriptor)
        server, control = self._server, self._control.fileno()
        receive, answer, unpack = self._control.recvmsg, self._control.send, _DESCRIPTORS.unpack
        answer(pack(TEMPLATE, os.getpid()))
        while True:
            name, ancillary, _, _ = receive(PACKET_BYTES, _DESCRIPTORS_SPACE_BYTES)
            if not name:
                os._exit(0)
            if not ancillary or len(ancillary[0][2]) != _DESCRIPTORS.size:
                answer(pack(FAILED, EMFILE))  # the kernel leaves out what it has no number for
                _close_all(ancillary)
                continue
            port, console, log = unpack(ancillary[0][2])
            try:
                pid = fork_sibling()
            except OSError as error:
                answer(pack(FAILED, error.errno))
                _close_all(ancillary)
                continue
            if pid:
                answer(b"forked %d" % pid)
                close(port)
                close(console)
                close(log)
                continue
            seconds = monotonic()
            tie_child(server, b"dcss:" + name)
            # A template has neither port nor console: these have come under the numbers of those.
            dup2(log, descriptors.LOG)
            dup2(log, descriptors.STDERR)
            close(log)
            failure = None
            try:
                repeat(seconds, control)
            except Exception as error:
                failure = error
                if isinstance(error, BootDiffersError):
                    with suppress(OSError):  # the server heard so of another one, and has left this template
                        answer(DIFFERS)
            return Clone(name.decode(), seconds, failure)

    def _close(self) -> None:
        self._control.close()
        os.close(self._faults)


def _close_all(ancillary: Ancillary) -> None:
    """Close the descriptors that came beside a packet."""
    for _, _, data in ancillary:
        for (descriptor,) in iter_unpack("i", data):
            os.close(descriptor)

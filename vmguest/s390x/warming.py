"""Programs run for nothing, in a guest that will be cloned: what that writes and translates, its clones share.

They run as those of the host do, so that also the interpreter of the guest kernel has done all of it before.
"""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from socket import AF_UNIX, SHUT_RDWR, SOCK_SEQPACKET, socket, socketpair
from time import monotonic

from dcss.abi import programs as abi
from dcss.abi.console import PACKET_BYTES
from dcss.abi.programs import ProgramPacket, ProgramRequest, head_of
from vmguest.fs.namei import existing
from vmguest.kernel import Kernel
from vmguest.s390x.host_console import HostConsole
from vmguest.s390x.programs import Programs

_SHELLS = (b"/bin/sh", b"/bin/bash")
_OWN_COMMANDS = b"x=$(echo a | { read y; echo $y; }); for i in 1 2; do ( : ); done; case $x in a) :; esac"
# What scripts run most; those that an image lacks are not found.
_TOOLS = b"""\
ls -l / | cat | sort | sed s/a/b/ | grep b | head -n 9 | tail -n 9 | cut -c 1-9 | tr a b | uniq | wc -l
ls /; echo a | awk '{ print $1 }'; echo a | gawk '{ print $1 }'; basename /a; dirname /a; date; env true
expr 1 + 1; printf %s a; sleep 0; test a; uname; find / -maxdepth 0; busybox true; tar --version; gzip --version
"""
_INTERPRETERS = b"""\
perl -e 1; python3 -I -B -c 1; sqlite3 :memory: 'select 1'
"""
_RUNS = 4  # of each shell: a function is specialized after eight calls
_SECONDS = 10.0  # for each list of scripts


def warm(kernel: Kernel, programs: Programs, gathered: Callable[[], AbstractContextManager[None]]) -> None:
    """Have shells run scripts of their own commands and of those that most scripts run.

    Nothing of the guest's changes by that. Without a shell, nothing is done. The guest kernel's code that is called
    within `gathered()` is put together in memory, and has to be called again to be specialized.
    """
    shells = [shell for shell in _SHELLS if existing(kernel.vfs, shell) is not None]
    if not shells:
        return
    own = [(shell, _OWN_COMMANDS) for shell in shells]
    tools, interpreters = ((shells[-1], script) for script in (_TOOLS, _INTERPRETERS))
    with gathered():
        _run(kernel, programs, [*own, tools])
    _run(kernel, programs, [*own * _RUNS, tools, interpreters])
    for process in programs.running:
        programs.end(process)


def _run(kernel: Kernel, programs: Programs, scripts: list[tuple[bytes, bytes]]) -> None:
    console, host = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with console, host:
        other = _Host(host, scripts)
        HostConsole(kernel, programs, console, other.look_at_clock).serve({host.fileno(): other.receive})


class _Host:
    """The other end of the console: it has shells run one script after the other, and closes the console then."""

    def __init__(self, console: socket, scripts: list[tuple[bytes, bytes]]) -> None:
        self._console = console
        self._scripts = deque(enumerate(scripts))
        self._until = monotonic() + _SECONDS
        self._next()

    def look_at_clock(self) -> None:
        """End all once time is over."""
        if monotonic() > self._until:
            self._console.shutdown(SHUT_RDWR)

    def receive(self) -> None:
        """Take a packet of the guest's."""
        packet = self._console.recv(PACKET_BYTES)
        if packet and ProgramPacket.unpack(packet).kind == abi.EXIT:
            self._next()

    def _next(self) -> None:
        if self._scripts:
            number, (shell, script) = self._scripts.popleft()
            self._console.send(head_of(abi.RUN, number) + ProgramRequest((shell, b"-c", script)).pack())
        else:
            self._console.shutdown(SHUT_RDWR)

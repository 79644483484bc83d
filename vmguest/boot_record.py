"""What a guest's boot had of the host, so that a clone of it can have the same of its own.

A guest that was forked from another one that had booted has its memory, and that is all: its segments are not mapped,
and CP has not heard of it. So it makes every hypercall of the boot itself, on its own port. As long as CP answers as it
did then, it maps the same objects at the same addresses, from its own descriptors, and has booted.
"""

import os
from array import array
from collections.abc import Callable, Sequence
from fcntl import F_DUPFD_CLOEXEC, fcntl
from os import close, fstat, write
from socket import MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, MSG_PEEK, socket
from sys import byteorder
from time import monotonic

from dcss.abi.console import COUNTERS, COUNTERS_REQUEST, VERDICT, Counters, Verdict
from dcss.abi.hypercall import DESCRIPTOR_SPACE_BYTES, MAX_PACKET_BYTES, Ancillary, unpack_reply
from vmguest import hostmem
from vmguest.fs.tmpfs import TmpfsFileSystem
from vmguest.kernel import Kernel
from vmguest.port import Call
from vmguest.printk import STAMP
from vmguest.stopwatch import MapPacked, Send, Stopwatch

_CLOSED = -1


class BootDiffersError(Exception):
    """CP answered otherwise than when the boot was recorded. `calls` are those that were made until then."""

    def __init__(self, reason: str, calls: list[Call]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.calls = calls


class BootRecord:
    """The hypercalls that a kernel has made, and its mappings of segments. It stops the recording of its port.

    Clones tell the host `packets` at the console. Those that are `idle` have nothing to do then but what the host asks.
    """

    def __init__(
        self,
        kernel: Kernel,
        console: socket,
        packets: Sequence[bytes],
        *,
        idle: bool,
        watch: Stopwatch | None = None,
    ) -> None:
        self._watch = watch
        self._kernel, self._console, self._told, self._idle = kernel, console, tuple(packets), idle
        machine = kernel.machine
        self._made_calls = tuple(machine.port.calls)
        machine.port.stop_recording()
        loads = [made.reply.descriptor for made in self._made_calls if made.reply.descriptor is not None]
        attached = {storage.descriptor for storage in machine.attached}
        # What came with each load, by the number that the kernel knows it by: the last one of a number, if attached.
        self._numbers = [
            number if number in attached and number not in loads[index + 1 :] else _CLOSED
            for index, number in enumerate(loads)
        ]
        self._objects = tuple(() if number == _CLOSED else _identity(number) for number in self._numbers)
        self._calls = tuple(
            (made.request.pack(), made.reply.pack(), made.reply.descriptor is not None) for made in self._made_calls
        )
        self._tmpfs = [system for system in kernel.vfs.file_systems if isinstance(system, TmpfsFileSystem)]
        self._in_place: list[tuple[int, int]] = []  # first page and pages of what is shown where it lies
        mappings = [machine.mapping_of(storage) for storage in machine.attached]
        for run, shown in kernel.init.mm.segment_runs():
            mappings += shown
            if not shown:
                self._in_place.append((run.page_frame, run.pages))
        joined = hostmem.joined_mappings(mappings)  # the host's own mappings, of which no part is withheld alone
        self._ranges = [(mapping.address, mapping.size_bytes) for mapping in joined]
        self._mappings: array[int] = hostmem.pack_mappings(joined)

    def withhold(self, *, withheld: bool) -> None:
        """Have processes that are forked from now on not get the mappings, or get them again."""
        for address, size_bytes in self._ranges:
            hostmem.withhold(address, size_bytes, withheld=withheld)

    def give_up(self) -> None:
        """In a process that was forked so: close the segments' descriptors and reserve their addresses."""
        for number in self._numbers:
            if number != _CLOSED:
                os.close(number)
        for address, size_bytes in self._ranges:
            hostmem.unmap(address, size_bytes)

    def repeater(self) -> Callable[[float, int], None]:
        """Return what a clone does first: it has of the host what the boot had, and tells the host.

        It is given when that was made, by the monotonic clock, and a descriptor to close once CP has answered as it did
        then. In an idle clone it returns when the host asks for more than its counters. It raises BootDiffersError,
        ConnectionError where CP is gone, and KernelError.

        It is one function, with what it uses in its cells: whatever a clone touches, however briefly, it gets a page of
        its own of, and functions, modules and what they refer to lie on many.
        """
        port, log = self._kernel.machine.port.socket, self._kernel.log
        send: Send = port.send
        receive, tell, listen = port.recvmsg, self._console.send, self._console.recv
        calls, objects, numbers, packets, idle = self._calls, self._objects, self._numbers, self._told, self._idle
        map_packed: MapPacked = hostmem.map_packed
        mappings, lines = self._mappings, log.prepare_repeat()
        if self._watch is not None:
            send, map_packed = self._watch.in_clone(send, map_packed)
        finish = self._finish if self._in_place or self._tmpfs else None
        nothing_counted = COUNTERS + Counters(0, 0, 0).pack()
        pack_idle, from_bytes = Verdict.pack_idle, int.from_bytes

        def repeat(boot_seconds: float, watched: int) -> None:  # noqa: PLR0912
            received = []
            for packet, expected, is_load in calls:
                send(packet, MSG_NOSIGNAL)
                reply, ancillary, _, _ = receive(MAX_PACKET_BYTES, DESCRIPTOR_SPACE_BYTES, MSG_CMSG_CLOEXEC)
                if ancillary:
                    received.append(from_bytes(ancillary[0][2], byteorder))
                if reply != expected or bool(ancillary) is not is_load:
                    raise self._differs(packet, received, reply, ancillary)
            for descriptor, identity in zip(received, objects, strict=True):
                status = fstat(descriptor)
                if identity and (status.st_dev, status.st_ino, status.st_size) != identity:
                    raise BootDiffersError("CP loaded another version of a segment", self._made(len(calls), received))
            close(watched)
            if received != numbers:
                self._renumber(received)
            map_packed(mappings)
            if finish is not None:
                finish()
            log.boot_seconds, log.repeated_seconds = boot_seconds, monotonic() - boot_seconds
            if log.console is not None:
                try:  # noqa: SIM105 -- suppress() is an object more to touch
                    write(log.console, (STAMP % log.repeated_seconds).join(lines))
                except OSError:
                    pass
            for packet in packets:
                tell(packet, MSG_NOSIGNAL)
            if idle:
                tell(VERDICT + pack_idle(monotonic() - boot_seconds), MSG_NOSIGNAL)
                try:
                    while listen(len(COUNTERS_REQUEST), MSG_PEEK) == COUNTERS_REQUEST:
                        listen(len(COUNTERS_REQUEST))
                        tell(nothing_counted, MSG_NOSIGNAL)
                except OSError:
                    pass  # whoever reads next finds it

        return repeat

    def _finish(self) -> None:
        for first_page, pages in self._in_place:
            self._kernel.machine.make_present(first_page, pages)
        for system in self._tmpfs:
            system.set_all_times()

    def _renumber(self, received: list[int]) -> None:
        """Give the descriptors the numbers that the kernel knows them by, and close those that it had closed."""
        above = max((*received, *self._numbers)) + 1  # so that none of them is closed before it is moved
        kept = [(number, wanted) for number, wanted in zip(received, self._numbers, strict=True) if wanted != _CLOSED]
        copies = [(fcntl(number, F_DUPFD_CLOEXEC, above), wanted) for number, wanted in kept]
        for number in received:
            os.close(number)
        for copy, wanted in copies:
            os.dup2(copy, wanted, inheritable=False)
            os.close(copy)

    def _differs(self, packet: bytes, received: list[int], reply: bytes, ancillary: Ancillary) -> BootDiffersError:
        """Return the error for the reply to a request, which is another one than it was."""
        number = next(index for index, (request, *_) in enumerate(self._calls) if request is packet)
        before = received[:-1] if ancillary else received
        answered = Call(self._made_calls[number].request, unpack_reply(reply, ancillary))
        calls = [*self._made(number, before), answered]
        return BootDiffersError(f"CP answered hypercall {number + 1} of the boot otherwise", calls)

    def _made(self, number: int, received: list[int]) -> list[Call]:
        """Return the first calls, with the descriptors that came now."""
        descriptors = iter(received)
        return [
            made
            if made.reply.descriptor is None
            else made._replace(reply=made.reply._replace(descriptor=next(descriptors)))
            for made in self._made_calls[:number]
        ]


def _identity(descriptor: int) -> tuple[int, int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size

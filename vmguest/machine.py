"""A virtual machine: real storage, the absolute address space above it, and the port by which DIAGNOSE reaches CP."""

import os
import socket
from typing import NamedTuple

from dcss.abi.diag08 import DIAGNOSE_08, LENGTH_MASK, REQUEST_HEAD
from dcss.abi.diag64 import DIAGNOSE_64, NAME_SIZE_BYTES, QIN64, Diag64, Qin64
from dcss.abi.hypercall import Request
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest import hostmem
from vmguest.hostmem import ObjectMapping, Reservation
from vmguest.page_lru import PageLru
from vmguest.port import Port
from vmguest.storage import ProgramCheckError, RealStorage, StorageKind
from vmguest.user_area import UserArea


class DiagnoseResult(NamedTuple):
    """What a DIAGNOSE leaves: condition code, the two registers, and for a load the descriptor of the storage."""

    condition_code: int
    rx: int
    ry: int
    descriptor: int | None


class AttachedStorage(NamedTuple):
    """Pages of absolute storage in an object that CP passed; `offset` is the first page's place in it, in bytes."""

    first_page: int
    pages: int
    descriptor: int
    offset: int
    private: bool
    writable: bool


class VirtualMachine:
    """One guest's hardware. Absolute address A lies at host address `reservation.window` + A.

    `user_area` has the free user addresses, of which every task takes its own.
    """

    def __init__(self, reservation: Reservation, storage_bytes: int, port: socket.socket) -> None:
        self.reservation = reservation
        self.storage = RealStorage(reservation.window, storage_bytes)
        self.page_lru = PageLru(self.storage)
        self.port = Port(port)
        self._attached: list[AttachedStorage] = []
        self.user_area = UserArea(reservation.user_area >> PAGE_SHIFT, reservation.user_area_bytes >> PAGE_SHIFT)

    def diagnose_64(self, rx: int, ry: int) -> DiagnoseResult:
        """Execute DIAGNOSE X'64': Rx addresses the operand in real storage, Ry holds the function code.

        Raises ProgramCheckError for an operand off a doubleword or outside storage, ConnectionError where CP is gone.
        """
        extended = ry in {Diag64.SEGEXT, Diag64.SEGEXTX}
        block = self._operand(rx, QIN64.size if extended else NAME_SIZE_BYTES)
        reply = self.port.call(Request(DIAGNOSE_64, rx, ry, bytes(block)))
        if reply.block and extended:
            area = Qin64._make(QIN64.unpack(block))
            self.storage.view(area.qoutptr, len(reply.block))[:] = reply.block
        return DiagnoseResult(reply.condition_code, reply.rx, reply.ry, reply.descriptor)

    def diagnose_08(self, rx: int, ry: int, rx1: int = 0, ry1: int = 0) -> DiagnoseResult:
        """Execute DIAGNOSE X'08': Rx addresses the command, Ry holds its length and flags, Rx+1 and Ry+1 the buffer.

        The result's `rx` is what the instruction leaves in Ry+1. Raises ProgramCheckError, ConnectionError.
        """
        command = self.storage.view(rx, ry & LENGTH_MASK)
        buffer = self.storage.view(rx1, ry1)
        reply = self.port.call(Request(DIAGNOSE_08, rx, ry, REQUEST_HEAD.pack(rx1, ry1) + bytes(command)))
        buffer[: len(reply.block)] = reply.block[:ry1]
        return DiagnoseResult(reply.condition_code, reply.rx, reply.ry, reply.descriptor)

    def _operand(self, address: int, size_bytes: int) -> memoryview:
        if address % 8 or address // PAGE_SIZE != (address + size_bytes - 1) // PAGE_SIZE:
            raise ProgramCheckError(
                f"specification exception: operand at {address:#x}, wanted a doubleword boundary and one page"
            )
        return self.storage.view(address, size_bytes)

    @property
    def attached(self) -> tuple[AttachedStorage, ...]:
        """What CP passed and was attached, in the order of that."""
        return tuple(self._attached)

    def attach(self, storage: AttachedStorage) -> None:
        """Make storage that CP passed addressable at its absolute address."""
        self.mapping_of(storage).map()
        self._attached.append(storage)

    def mapping_of(self, storage: AttachedStorage) -> ObjectMapping:
        """Return how attached storage is mapped at its absolute address."""
        return ObjectMapping(
            self.absolute(storage.first_page),
            storage.pages * PAGE_SIZE,
            storage.descriptor,
            storage.offset,
            writable=storage.writable,
            private=storage.private,
            populate=False,
        )

    def detach(self, first_page: int, last_page: int) -> None:
        """Make attached storage from `first_page` to `last_page` non-addressable and close its descriptors."""
        gone = [a for a in self._attached if first_page <= a.first_page <= last_page]
        for storage in gone:
            hostmem.unmap(self.absolute(storage.first_page), storage.pages * PAGE_SIZE)
            self._attached.remove(storage)
        for descriptor in {a.descriptor for a in gone} - {a.descriptor for a in self._attached}:
            os.close(descriptor)

    def absolute(self, page: int) -> int:
        """Return the host address of an absolute page number."""
        return self.reservation.window + (page << PAGE_SHIFT)

    def make_present(self, first_page: int, pages: int) -> None:
        """Have the host map absolute pages where they lie; real storage is left as it is."""
        for storage in self._attached:
            start = max(first_page, storage.first_page)
            end = min(first_page + pages, storage.first_page + storage.pages)
            if start < end:
                hostmem.make_present(self.absolute(start), (end - start) * PAGE_SIZE)

    def kind_of(self, page_frame: int) -> StorageKind:
        """Return whether an absolute page lies in real storage or above it."""
        return StorageKind.REAL if page_frame < self.storage.size_bytes >> PAGE_SHIFT else StorageKind.SEGMENT

    def shared_pieces(self, first_page: int, pages: int) -> list[AttachedStorage]:
        """Return the parts of objects that hold absolute pages, for the host to map them once more.

        Private memory can be mapped only once: where one of the pages lies in real storage, or in attached storage of
        which pages may have been written, there are none.
        """
        pieces = []
        for storage in self._attached:
            start = max(first_page, storage.first_page)
            end = min(first_page + pages, storage.first_page + storage.pages)
            if start < end and not storage.private:
                offset = storage.offset + (start - storage.first_page) * PAGE_SIZE
                pieces.append(AttachedStorage(start, end - start, storage.descriptor, offset, False, storage.writable))
        return pieces if sum(piece.pages for piece in pieces) == pages else []

"""A virtual machine: real storage, the absolute address space above it, and the port by which DIAGNOSE reaches CP."""

import os
import socket
from errno import EINVAL, ENOMEM
from typing import NamedTuple

from dcss.abi.diag08 import DIAGNOSE_08, LENGTH_MASK, REQUEST_HEAD
from dcss.abi.diag64 import DIAGNOSE_64, NAME_SIZE_BYTES, QIN64, Diag64, Qin64
from dcss.abi.hypercall import Request, call
from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.hostmem import Reservation

PREFIX_AREA_PAGES = 2  # absolute 0-1FFF is the lowcore; nothing is allocated there


class ProgramCheckError(KernelError):
    """The instruction was not executed: an operand is misaligned or lies outside storage."""

    def __init__(self, message: str) -> None:
        super().__init__(EINVAL, message)

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return type(self), (self.strerror,)


class Diagnosed(NamedTuple):
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


class PageRuns:
    """Numbers of pages, handed out in contiguous runs, lowest first, so that what was never used stays untouched."""

    def __init__(self, first: int, pages: int) -> None:
        self._free = [(first, pages)]

    @property
    def free_pages(self) -> int:
        """Pages that are still to be had."""
        return sum(pages for _, pages in self._free)

    def allocate(self, pages: int) -> int | None:
        """Return the first page of a contiguous run, or None where no free run is long enough."""
        for index, (first, free_pages) in enumerate(self._free):
            if free_pages >= pages:
                self._free[index : index + 1] = [(first + pages, free_pages - pages)] if free_pages > pages else []
                return first
        return None

    def release(self, first: int, pages: int) -> None:
        """Take a run back and join it with free neighbours."""
        merged: list[tuple[int, int]] = []
        for start, length in sorted([*self._free, (first, pages)]):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self._free = merged


class RealStorage:
    """A guest's own memory: page frames from absolute 0 up, each zero when handed out."""

    def __init__(self, base: int, size_bytes: int) -> None:
        hostmem.map_storage(base, size_bytes)
        self.base = base
        self.size_bytes = size_bytes
        self._frames = PageRuns(PREFIX_AREA_PAGES, size_bytes // PAGE_SIZE - PREFIX_AREA_PAGES)

    @property
    def free_bytes(self) -> int:
        """Bytes that are still to be had."""
        return self._frames.free_pages * PAGE_SIZE

    def allocate(self, pages: int) -> int:
        """Return the first page frame of a contiguous zeroed run. Raises KernelError(ENOMEM) where there is none."""
        frame = self._frames.allocate(pages)
        if frame is None:
            raise KernelError(
                ENOMEM,
                f"real storage of {self.size_bytes} bytes: wanted {pages * PAGE_SIZE} bytes in one run,"
                f" found {self.free_bytes} bytes free (give the guest more `storage:`)",
            )
        return frame

    def release(self, frame: int, pages: int) -> None:
        """Take a run back; the host gets its memory back at once, and the frames read as zeros again."""
        hostmem.discard(self.address(frame), pages * PAGE_SIZE)
        self._frames.release(frame, pages)

    def address(self, frame: int) -> int:
        """Return the host address of a page frame."""
        return self.base + (frame << PAGE_SHIFT)

    def view(self, address: int, size_bytes: int) -> memoryview:
        """Return bytes at an absolute address. Raises ProgramCheckError where they are not in real storage."""
        if address < 0 or address + size_bytes > self.size_bytes:
            raise ProgramCheckError(
                f"addressing exception: {size_bytes} bytes at {address:#x}, storage ends at {self.size_bytes:#x}"
            )
        return hostmem.view(self.base + address, size_bytes)


class Machine:
    """One guest's hardware. Absolute address A lies at host address `reservation.window` + A."""

    def __init__(self, reservation: Reservation, storage_bytes: int, port: socket.socket) -> None:
        self.reservation = reservation
        self.storage = RealStorage(reservation.window, storage_bytes)
        self._port = port
        self._attached: list[AttachedStorage] = []
        self._user_pages = PageRuns(reservation.user_area >> PAGE_SHIFT, reservation.user_area_bytes >> PAGE_SHIFT)

    def diagnose_64(self, rx: int, ry: int) -> Diagnosed:
        """Execute DIAGNOSE X'64': Rx addresses the operand in real storage, Ry holds the function code.

        Raises ProgramCheckError for an operand off a doubleword or outside storage, ConnectionError where CP is gone.
        """
        extended = ry in {Diag64.SEGEXT, Diag64.SEGEXTX}
        block = self._operand(rx, QIN64.size if extended else NAME_SIZE_BYTES)
        reply = call(self._port, Request(DIAGNOSE_64, rx, ry, bytes(block)))
        if reply.block and extended:
            area = Qin64._make(QIN64.unpack(block))
            self.storage.view(area.qoutptr, len(reply.block))[:] = reply.block
        return Diagnosed(reply.condition_code, reply.rx, reply.ry, reply.descriptor)

    def diagnose_08(self, rx: int, ry: int, rx1: int = 0, ry1: int = 0) -> Diagnosed:
        """Execute DIAGNOSE X'08': Rx addresses the command, Ry holds its length and flags, Rx+1 and Ry+1 the buffer.

        The result's `rx` is what the instruction leaves in Ry+1. Raises ProgramCheckError, ConnectionError.
        """
        command = self.storage.view(rx, ry & LENGTH_MASK)
        buffer = self.storage.view(rx1, ry1)
        reply = call(self._port, Request(DIAGNOSE_08, rx, ry, REQUEST_HEAD.pack(rx1, ry1) + bytes(command)))
        buffer[: len(reply.block)] = reply.block[:ry1]
        return Diagnosed(reply.condition_code, reply.rx, reply.ry, reply.descriptor)

    def _operand(self, address: int, size_bytes: int) -> memoryview:
        if address % 8 or address // PAGE_SIZE != (address + size_bytes - 1) // PAGE_SIZE:
            raise ProgramCheckError(
                f"specification exception: operand at {address:#x}, wanted a doubleword boundary and one page"
            )
        return self.storage.view(address, size_bytes)

    def attach(self, storage: AttachedStorage) -> None:
        """Make storage that CP passed addressable at its absolute address."""
        address = self.absolute(storage.first_page)
        hostmem.map_object(
            address,
            storage.pages * PAGE_SIZE,
            storage.descriptor,
            storage.offset,
            writable=storage.writable,
            private=storage.private,
            populate=False,
        )
        self._attached.append(storage)

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

    def map_user(self, address: int, first_page: int, pages: int) -> int:
        """Map absolute pages read-only at user level, all present, and return the host address that they are at.

        Shared attached storage is mapped at `address`, from as many objects as the pages lie in. Private memory the
        host can map only once: real storage, and attached storage of which pages may have been written, are found
        where they are.
        """
        pieces = self._shared_pieces(first_page, pages)
        if sum(length for _, _, length in pieces) != pages:
            return self.absolute(first_page)
        for storage, start, length in pieces:
            hostmem.map_object(
                address + (start - first_page) * PAGE_SIZE,
                length * PAGE_SIZE,
                storage.descriptor,
                storage.offset + (start - storage.first_page) * PAGE_SIZE,
                writable=False,
                private=False,
                populate=True,
            )
        return address

    def _shared_pieces(self, first_page: int, pages: int) -> list[tuple[AttachedStorage, int, int]]:
        """Return what attached storage, not private, has of a run of pages: storage, first page, length in pages."""
        pieces = []
        for storage in self._attached:
            start = max(first_page, storage.first_page)
            end = min(first_page + pages, storage.first_page + storage.pages)
            if start < end and not storage.private:
                pieces.append((storage, start, end - start))
        return pieces

    def user_range(self, pages: int) -> int:
        """Return the start of `pages` unused pages of user addresses. Raises KernelError(ENOMEM) for none."""
        first = self._user_pages.allocate(pages)
        if first is None:
            raise KernelError(ENOMEM, f"user area: wanted {pages} pages in one run, found none so long")
        return first << PAGE_SHIFT

    def unmap_user(self, address: int, pages: int) -> None:
        """Unmap user addresses that `user_range` gave, and let them be used again."""
        hostmem.unmap(address, pages * PAGE_SIZE)
        self._user_pages.release(address >> PAGE_SHIFT, pages)

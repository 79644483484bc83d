"""Page frames of real storage that programs have: their own pages, and the tables that translate addresses.

Addresses are absolute. A frame that several page tables have, after a fork, is counted here and goes with the last one.
"""

from collections.abc import Iterable, Iterator, Sequence

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from vmguest import hostmem
from vmguest.machine import VirtualMachine

_TABLE_BYTES = 2048  # a page table; two lie in a frame
_LARGE_TABLE_BYTES = 16384  # a region or segment table


class PageFrames:
    """Hands out frames. `memory` is all of absolute storage; `zeros` a frame that is never written."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self._storage = machine.storage
        reservation = machine.reservation
        self.memory = hostmem.view(reservation.window, reservation.window_bytes)
        self.zeros = self._storage.allocate(1) << PAGE_SHIFT
        self._more: dict[int, int] = {}  # holders of a frame beyond the first one
        self._half_tables: list[int] = []
        self._large_tables: list[int] = []
        self.used_pages = 0  # of programs
        self.table_pages = 0

    def new(self) -> int:
        """Return the address of a zeroed frame. Raises KernelError(ENOMEM)."""
        frame = self._storage.allocate_for_program()
        self.used_pages += 1
        return frame << PAGE_SHIFT

    def copy_of(self, source: int) -> int:
        """Return the address of a frame that holds what the page at `source` does. Raises KernelError(ENOMEM)."""
        target = self.new()
        base = self._storage.base
        hostmem.copy(base + target, base + source, PAGE_SIZE)
        return target

    def copies_of(self, sources: Sequence[int]) -> list[int]:
        """Return addresses of frames that hold what the pages at `sources` do; none where no such run is free."""
        frame = self._storage.try_allocate_for_program(len(sources))
        if frame is None:
            return []
        self.used_pages += len(sources)
        first, base = frame << PAGE_SHIFT, self._storage.base
        targets = list(range(first, first + len(sources) * PAGE_SIZE, PAGE_SIZE))
        for target, source in zip(targets, sources, strict=True):
            hostmem.copy(base + target, base + source, PAGE_SIZE)
        return targets

    def kept_copy_of(self, source: int) -> int:
        """Return the address of a copy that no program has of its own, and that is never given back."""
        target = self._storage.allocate(1) << PAGE_SHIFT
        hostmem.copy(self._storage.base + target, self._storage.base + source, PAGE_SIZE)
        return target

    def share(self, addresses: Iterable[int]) -> None:
        """Count one more holder of each frame."""
        more = self._more
        for address in addresses:
            more[address] = more.get(address, 0) + 1

    def is_shared(self, address: int) -> bool:
        """Return whether a frame has several holders."""
        return address in self._more

    def drop(self, addresses: Iterable[int]) -> list[int]:
        """Count one holder less of each frame; give back, and return, those that have none."""
        gone = []
        more = self._more
        for address in addresses:
            left = more.get(address)
            if left is None:
                gone.append(address)
            elif left == 1:
                del more[address]
            else:
                more[address] = left - 1
        self.used_pages -= len(gone)
        for first, pages in _runs(sorted(gone)):
            self._storage.release(first >> PAGE_SHIFT, pages)
        return gone

    def page_table(self, packed: bytes) -> int:
        """Return the address of a page table that holds `packed`."""
        if not self._half_tables:
            address = self._storage.allocate(1) << PAGE_SHIFT
            self.table_pages += 1
            self._half_tables += [address + _TABLE_BYTES, address]
        table = self._half_tables.pop()
        self.memory[table : table + _TABLE_BYTES] = packed
        return table

    def large_table(self, packed: bytes) -> int:
        """Return the address of a region or segment table that holds `packed`."""
        if self._large_tables:
            table = self._large_tables.pop()
        else:
            table = self._storage.allocate(_LARGE_TABLE_BYTES // PAGE_SIZE) << PAGE_SHIFT
            self.table_pages += _LARGE_TABLE_BYTES // PAGE_SIZE
        self.memory[table : table + _LARGE_TABLE_BYTES] = packed
        return table

    def free_page_tables(self, tables: Iterable[int]) -> None:
        """Take page tables back."""
        self._half_tables.extend(tables)

    def free_large_tables(self, tables: Iterable[int]) -> None:
        """Take region and segment tables back."""
        self._large_tables.extend(tables)


def _runs(addresses: list[int]) -> Iterator[tuple[int, int]]:
    """Yield sorted page addresses as runs: the first one, and how many pages."""
    first = pages = 0
    for address in addresses:
        if pages and address == first + pages * PAGE_SIZE:
            pages += 1
            continue
        if pages:
            yield first, pages
        first, pages = address, 1
    if pages:
        yield first, pages

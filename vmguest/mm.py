"""A task's address space: areas of user addresses, what they show, and access to it (mm/mmap.c, mm/memory.c).

Files translate, the address space maps. Where a file's pages lie in storage that the host can map once more, a segment
that is attached shared, the host maps them at the user address too, one mmap call a run, and a hole as the zero page:
what the host's page tables hold there is the segment's own frames. All other pages lie *in place*: real storage (page
cache, tmpfs, anonymous memory) and segments that are attached exclusively are private memory of the guest, which the
host can map only once. They are reached at their own address, and nothing is mapped at the user address. Of a segment
that is attached exclusively, `map` makes the pages present there: until they are written they are the segment's frames.

Access by this module goes to where a file's pages lie at that moment, by their absolute address. What the host maps
follows: a file says when a hole of it was filled or its end was cut, and all that show these pages show them anew.

Private writable memory is copied by this module, a page at a time into frames of real storage, when it is first
written. So copies count as the guest's own memory, are limited by it, and never stand among a file's user addresses.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EINVAL, ENOMEM, ENOSPC

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.frames import FrameMap
from vmguest.fs.file import FileMappings
from vmguest.hostmem import ObjectMapping
from vmguest.machine import VirtualMachine
from vmguest.mm_area import PROT_READ, PROT_WRITE, BusError, MappableFile, MemoryArea, SegmentationFaultError
from vmguest.storage import HUGE_PAGE_PAGES, ZERO_PAGE, StorageKind, StorageRun
from vmguest.user_area import StoragePlace


class AddressSpace:
    """The user memory of one task (struct mm_struct). Addresses are the host's, in the guest's user area.

    All tasks of a guest take their addresses from the one user area, so no two have the same.
    """

    __slots__ = ("_areas", "_machine", "_private", "_put_off")

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine
        self._areas: list[MemoryArea] = []  # by address; none overlap
        self._private = FrameMap(machine.storage)  # frames of this address space alone, by user page
        self._put_off: list[ObjectMapping] | None = None  # what the host is to map at the end of `mapped_together`

    @property
    def areas(self) -> tuple[MemoryArea, ...]:
        """All areas, by address."""
        return tuple(self._areas)

    @property
    def file_pages(self) -> int:
        """Pages of files that are mapped, holes included."""
        return sum(area.pages for area in self._areas if area.file is not None)

    @property
    def anonymous_pages(self) -> int:
        """Pages of real storage that only this address space has: anonymous memory, and private copies."""
        return self._private.pages

    def map(
        self,
        file: MappableFile | None,
        first_page: int,
        pages: int,
        protection: int = PROT_READ,
        *,
        shared: bool = True,
        address: int | None = None,
    ) -> int:
        """Map pages of a file, or anonymous memory, as mmap(2) does; return the address of the first one.

        Every page of the file is present on return; pages beyond its end raise BusError when they are accessed. With
        `address` the pages go there and replace what is mapped there (MAP_FIXED). Raises KernelError: EINVAL, EACCES,
        ENODEV, ENOMEM.
        """
        if pages <= 0 or first_page < 0:
            raise KernelError(EINVAL, f"mmap of {pages} pages from page {first_page}: wanted at least one, from 0 on")
        runs: list[StorageRun] = []
        if file is not None:
            file.check_mapping(shared_writable=shared and bool(protection & PROT_WRITE))
            runs.extend(file.translate(first_page, pages))
        first = self._take_anywhere(runs, pages) if address is None else self._take_fixed(address, pages)
        held = None if file is None else file.hold()
        area = MemoryArea(first, pages, protection, held, first_page, shared=shared)
        self._areas.insert(self._index(first) + 1, area)
        if held is not None:
            held.mappings.add(self)
        try:
            self._show(area, runs)
        except OSError:
            self.unmap(area.address, pages)
            raise
        return area.address

    @contextmanager
    def mapped_together(self) -> Iterator[None]:
        """Have the host map at the end what is mapped until then, where files adjoin by one call.

        What adjoins is mapped as a whole then, and so by huge pages, too. Until then the files cannot be unmapped.
        """
        self._put_off = []
        try:
            yield
            for mapping in hostmem.joined_mappings(self._put_off):
                mapping.map()
        finally:
            self._put_off = None

    def unmap(self, address: int, pages: int) -> None:
        """Unmap what is mapped in a range, in part or whole; what was mapped around it stays. As munmap(2)."""
        first, end = self._isolate(address, pages)
        low = bisect_left(self._areas, first, key=_first_page)
        high = bisect_left(self._areas, end, key=_first_page)
        gone, self._areas[low:high] = self._areas[low:high], []
        for area in gone:
            self._give_up(area)
        if gone:
            self._restore_around(first, end)

    def unmap_all(self) -> None:
        """Unmap everything: the end of a task."""
        while self._areas:
            self._give_up(self._areas.pop())

    def _give_up(self, area: MemoryArea) -> None:
        hostmem.unmap(area.address, area.pages * PAGE_SIZE)
        self._private.punch(area.first_page, area.pages)
        self._machine.user_area.release(area.first_page, area.pages)
        if area.file is not None:
            area.file.mappings.remove(self)
            area.file.close()

    def protect(self, address: int, pages: int, protection: int) -> None:
        """Change the protection of a range, as mprotect(2) does.

        Raises KernelError: ENOMEM at the first page that is not mapped, EACCES where a shared mapping may not become
        writable; what lies before that has changed then.
        """
        page, end = self._isolate(address, pages)
        while page < end:
            area = self.find(page << PAGE_SHIFT)
            if area is None:
                raise KernelError(ENOMEM, f"mprotect at {page << PAGE_SHIFT:#x}: nothing is mapped there")
            if area.file is not None:
                area.file.check_mapping(shared_writable=area.shared and bool(protection & PROT_WRITE))
            before, area.protection = area.protection, protection
            if not protection:
                hostmem.unmap(area.address, area.pages * PAGE_SIZE)
            elif area.file is not None and (not before or (area.shared and (before ^ protection) & PROT_WRITE)):
                self._show(area, area.file.translate(area.file_page, area.pages))
            page = area.end
        self._restore_around(address >> PAGE_SHIFT, end)

    def pages_changed(self, mappings: FileMappings, first_page: int, pages: int) -> None:
        """Show pages of a file anew in every area of it: a hole was filled, or the file was cut."""
        for area in self._areas:
            if area.file is not None and area.file.mappings is mappings:
                low = max(first_page, area.file_page)
                high = min(first_page + pages, area.file_page + area.pages)
                if low < high:
                    first = area.first_page + low - area.file_page
                    hostmem.unmap(first << PAGE_SHIFT, (high - low) * PAGE_SIZE)
                    self._show(area, area.file.translate(low, high - low))
                    self._restore_around(first, first + high - low)

    def pages_of(self, mappings: FileMappings) -> Iterator[tuple[int, int]]:
        """Yield which pages of a file are mapped here: the first one, and how many."""
        for area in self._areas:
            if area.file is not None and area.file.mappings is mappings:
                yield area.file_page, area.pages

    def segment_runs(self) -> Iterator[tuple[StorageRun, list[ObjectMapping]]]:
        """Yield each run of segment pages that an area shows, and how the host maps it: nowhere, if it lies in place.

        Private copies of pages are left out of account.
        """
        for area in self._areas:
            if area.file is not None and area.protection:
                for run in area.file.translate(area.file_page, area.pages):
                    if run.kind is StorageKind.SEGMENT:
                        yield run, self._mappings_of(area, run)

    def find(self, address: int) -> MemoryArea | None:
        """Return the area that an address lies in, or None."""
        page = address >> PAGE_SHIFT
        index = self._index(page)
        return self._areas[index] if index >= 0 and page < self._areas[index].end else None

    def views(self, address: int, size_bytes: int, *, for_write: bool = False) -> Iterator[memoryview]:
        """Yield the bytes of a range where they lie, in contiguous pieces; read-only ones unless `for_write`.

        Raises SegmentationFaultError, BusError, and KernelError(ENOMEM) where a private page has no room for its copy.
        """
        end = address + size_bytes
        while address < end:
            area = self.find(address)
            wanted = PROT_WRITE if for_write else PROT_READ
            if area is None or not area.protection & wanted:
                found = "nothing is mapped there" if area is None else f"its protection is {area.protection}"
                raise SegmentationFaultError(f"address {address:#x}: {found}, wanted {wanted}")
            page, offset = address >> PAGE_SHIFT, address % PAGE_SIZE
            pages = min(area.end, hostmem.pages(end)) - page
            piece = self._access(area, page, pages, for_write=for_write)[offset : offset + end - address]
            yield piece if for_write else piece.toreadonly()
            address += len(piece)

    def read(self, address: int, size_bytes: int) -> bytes:
        """Return a copy of bytes. Raises as `views` does."""
        return b"".join(self.views(address, size_bytes))

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Store bytes. Raises as `views` does."""
        rest = memoryview(data)
        for piece in self.views(address, len(rest), for_write=True):
            piece[:] = rest[: len(piece)]
            rest = rest[len(piece) :]

    def _access(self, area: MemoryArea, page: int, pages: int, *, for_write: bool) -> memoryview:
        """Return pages of an area from `page` on, as many as lie in one piece (handle_mm_fault)."""
        run = next(self._private.translate(page, pages))
        if run.kind is StorageKind.HOLE:
            if area.file is not None:
                return self._access_file(area, area.file, page, run.pages, for_write=for_write)
            if not for_write:
                return ZERO_PAGE
            self._fill(page, run.pages)
            run = next(self._private.translate(page, run.pages))
        return hostmem.view(self._machine.absolute(run.page_frame), run.pages * PAGE_SIZE)

    def _access_file(
        self, area: MemoryArea, file: MappableFile, page: int, pages: int, *, for_write: bool
    ) -> memoryview:
        file_page = area.file_page + page - area.first_page
        try:
            run = next(file.translate(file_page, pages, for_write=for_write and area.shared), None)
        except KernelError as error:
            if error.errno != ENOSPC:
                raise
            raise BusError(f"address {page << PAGE_SHIFT:#x}: no room for a block of page {file_page}") from error
        if run is None:
            raise BusError(f"address {page << PAGE_SHIFT:#x}: page {file_page} lies beyond the end of the file")
        if for_write and not area.shared:
            return self._copy(page, run)
        if run.kind is StorageKind.HOLE:
            return ZERO_PAGE
        return hostmem.view(self._machine.absolute(run.page_frame), run.pages * PAGE_SIZE)

    def _copy(self, page: int, run: StorageRun) -> memoryview:
        """Give this address space a page of its own in place of the first one of a run, and return it."""
        self._fill(page, 1)
        copied = next(self._private.translate(page, 1))
        target = self._machine.absolute(copied.page_frame)
        if run.kind is not StorageKind.HOLE:
            hostmem.copy(target, self._machine.absolute(run.page_frame), PAGE_SIZE)
        hostmem.unmap(page << PAGE_SHIFT, PAGE_SIZE)
        self._restore_around(page, page + 1)
        return hostmem.view(target, PAGE_SIZE)

    def _fill(self, page: int, pages: int) -> None:
        filled = self._private.fill(page, pages)
        if filled < pages:
            self._private.punch(page, filled)
            raise self._machine.storage.shortage(pages)

    def _show(self, area: MemoryArea, runs: Iterator[StorageRun] | list[StorageRun] | tuple[StorageRun, ...]) -> None:
        """Have the host map runs of the area's file at their user addresses, but for pages that lie in place."""
        if not area.protection:
            return
        for run in runs:
            if run.kind is StorageKind.HOLE:
                hostmem.map_zeros(self._address_of(area, run), run.pages * PAGE_SIZE)
            elif run.kind is StorageKind.SEGMENT:
                mappings = self._mappings_of(area, run)
                if not mappings:
                    self._machine.make_present(run.page_frame, run.pages)
                if self._put_off is not None:
                    self._put_off += mappings
                    continue
                for mapping in mappings:
                    mapping.map()
        for copied in self._private.runs(area.first_page, area.pages):
            hostmem.unmap(copied.file_page << PAGE_SHIFT, copied.pages * PAGE_SIZE)

    def _restore_around(self, first: int, end: int) -> None:
        """Have the host map again what it gave up: of a huge page of which a part is mapped otherwise, all is gone."""
        for low, high in ((first - first % HUGE_PAGE_PAGES, first), (end, end + -end % HUGE_PAGE_PAGES)):
            for area in self._areas[max(0, self._index(low)) : self._index(high - 1) + 1]:
                start, stop = max(low, area.first_page), min(high, area.end)
                if start < stop and area.file is not None and area.protection:
                    hostmem.restore_presence(start << PAGE_SHIFT, (stop - start) * PAGE_SIZE)

    def _mappings_of(self, area: MemoryArea, run: StorageRun) -> list[ObjectMapping]:
        """Return how the host maps a run of the area's file; none where its pages lie in place.

        Raises KernelError(EACCES) where the area is shared and writable, and the segment is not.
        """
        writable = area.shared and bool(area.protection & PROT_WRITE)
        address = self._address_of(area, run)
        mappings = []
        for piece in self._machine.shared_pieces(run.page_frame, run.pages):
            if writable and not piece.writable:
                raise KernelError(EACCES, f"mmap at {address:#x}: the segment is read-only")
            mappings.append(
                ObjectMapping(
                    address + (piece.first_page - run.page_frame) * PAGE_SIZE,
                    piece.pages * PAGE_SIZE,
                    piece.descriptor,
                    piece.offset,
                    writable=writable,
                    private=False,
                    populate=True,
                )
            )
        return mappings

    @staticmethod
    def _address_of(area: MemoryArea, run: StorageRun) -> int:
        return area.first_page + run.file_page - area.file_page << PAGE_SHIFT

    def _take_anywhere(self, runs: list[StorageRun], pages: int) -> int:
        """Return the first of `pages` unused user pages. Raises KernelError(ENOMEM)."""
        area, first, longest = self._machine.user_area, None, None
        low = high = 0  # the frames of a segment that the runs lie in
        for run in runs:
            if run.kind is StorageKind.SEGMENT:
                low = run.page_frame if longest is None else min(low, run.page_frame)
                high = max(high, run.page_frame + run.pages)
                if longest is None or run.pages > longest.pages:
                    longest = run
        place = None if longest is None else self._place_of(longest, runs[0].file_page)
        if longest is not None and place is not None:
            if high - low >= pages:  # a file with holes would take the places of others
                first = area.allocate_as_stored(pages, place)
            if first is None and longest.pages >= HUGE_PAGE_PAGES:
                first = area.allocate_congruent(pages, place)
        if first is None:
            first = area.allocate(pages)
        if first is None:
            raise KernelError(ENOMEM, f"user area: wanted {pages} pages in one run, found none so long")
        return first

    def _place_of(self, run: StorageRun, file_page: int) -> StoragePlace | None:
        """Return where a file page would lie if it lay like a run, or None where the host cannot map that once more."""
        pieces = self._machine.shared_pieces(run.page_frame, run.pages) if run.kind is StorageKind.SEGMENT else []
        if not pieces:
            return None
        before = run.file_page - file_page
        return StoragePlace(pieces[0].first_page - before, (pieces[0].offset >> PAGE_SHIFT) - before)

    def _take_fixed(self, address: int, pages: int) -> int:
        """Take the pages at an address, in place of what this address space has there."""
        self.unmap(address, pages)
        if not self._machine.user_area.take(address >> PAGE_SHIFT, pages):
            raise KernelError(ENOMEM, f"user area: {pages} pages at {address:#x} lie outside, or are another task's")
        return address >> PAGE_SHIFT

    def _isolate(self, address: int, pages: int) -> tuple[int, int]:
        """Split areas where a range begins and ends; return its first page and the page behind it."""
        if address % PAGE_SIZE or pages < 0:
            raise KernelError(EINVAL, f"{pages} pages at {address:#x}: wanted whole pages on a page boundary")
        first = address >> PAGE_SHIFT
        for page in (first, first + pages):
            index = self._index(page)
            if index >= 0 and self._areas[index].first_page < page < self._areas[index].end:
                rest = self._areas[index].split(page)
                self._areas.insert(index + 1, rest)
                if rest.file is not None:
                    rest.file.mappings.add(self)
        return first, first + pages

    def _index(self, page: int) -> int:
        """Return the index of the last area that begins at or before a page, -1 for none."""
        return bisect_right(self._areas, page, key=_first_page) - 1


def _first_page(area: MemoryArea) -> int:
    return area.first_page

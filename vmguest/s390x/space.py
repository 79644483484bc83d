"""A program's address space: areas, and the s390 page tables that show them to the CPU (mm/mmap.c, mm/memory.c).

A file's pages enter the tables as the absolute addresses where they lie: a segment's own frames, executed in place. A
private page that is written becomes a frame of real storage that belongs to the program; after a fork both have it, and
whoever writes first copies it. Pages enter the tables when they are mapped or first touched, never by being read.

Programs may execute what they can read, as on a z13. Still, pages that are not mapped for that are protected from it
until they are first executed: to those that cannot be executed the CPU stores several times as fast.
"""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from errno import EFAULT, EINVAL, ENOMEM
from typing import NamedTuple, Self

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.errors import KernelError
from vmguest import hostmem
from vmguest.fs.file import FileMappings
from vmguest.mm_area import PROT_EXEC, PROT_READ, PROT_WRITE, MappableFile, MemoryArea
from vmguest.s390x import elf
from vmguest.s390x.areas import Areas
from vmguest.s390x.code_pages import CodePages
from vmguest.s390x.forking import Forks
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.page_tables import ADDRESS_BITS, INVALID, NO_EXECUTE, OWNED, PROTECT, PageTables
from vmguest.storage import StorageKind, StorageRun

TASK_SIZE = 1 << 42  # Linux gives a program 4 TiB
STACK_BYTES = 8 << 20
_STACK_GAP_BYTES = 1 << 24  # between the stack and what is mapped below it
_LOWEST_PAGE = 16  # vm.mmap_min_addr
_EAGER_PAGES = 1024  # of a file, entered when it is mapped
_AROUND_PAGES = 16  # entered together at a fault
_FILL_PAGES = 4  # of anonymous memory, given frames together
_STRING_BYTES = 1 << 20
_MOST_AREAS = 65530  # vm.max_map_count

SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR = 1, 2, 2
SIGBUS, SIGSEGV = 7, 11


class Fault(NamedTuple):
    """An access that ends by a signal: its number, si_code and si_addr, and the kernel's reason, if it has one."""

    signal: int
    code: int
    address: int
    reason: str = ""


class FaultError(KernelError):
    """A system call was given an address that it cannot access (EFAULT)."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(EFAULT, f"address {fault.address:#x}: signal {fault.signal}, code {fault.code}")
        self.fault = fault

    def __reduce__(self) -> tuple[type, tuple[Fault]]:
        return type(self), (self.fault,)


class UserSpace:
    """The memory of one program; threads share it, and count as its holders.

    `stale` is set when entries became invalid or more restrictive: the CPU must purge what it knows of them.
    """

    def __init__(self, frames: PageFrames, code: CodePages) -> None:
        self._frames = frames
        self._code = code
        self._tables = PageTables(frames)
        self.areas = Areas(self)
        self.stale = False
        self.program_end = self.break_end = 0  # addresses: where the heap begins, and ends
        self._holders = 1
        self.forks = Forks()

    @property
    def root(self) -> int:
        """What control register 1 holds while the program runs."""
        return self._tables.root

    def hold(self) -> Self:
        """Count one more holder."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Count one holder less; the last one gives everything back."""
        self._holders -= 1
        if self._holders == 0:
            owned = [entries[at] & ADDRESS_BITS for _, entries, places in self._tables.owned_entries() for at in places]
            self._code.forget(self._frames.drop(owned))
            self._tables.free()
            self._close(self.areas.remove(0, TASK_SIZE >> PAGE_SHIFT))

    # -- mapping ---------------------------------------------------------------------------------------------------

    def map(
        self,
        file: MappableFile | None,
        file_page: int,
        pages: int,
        protection: int,
        *,
        shared: bool = False,
        address: int | None = None,
    ) -> int:
        """Map pages of a file, or anonymous memory; return the address. What is at a given `address` is replaced.

        Raises KernelError: EINVAL, EACCES, ENODEV, ENOMEM.
        """
        if pages <= 0 or file_page < 0:
            raise KernelError(EINVAL, f"mmap of {pages} pages from page {file_page}: wanted at least one, from 0 on")
        if len(self.areas) >= _MOST_AREAS:
            raise KernelError(ENOMEM, f"mmap: the program has {len(self.areas)} mappings, which is the limit")
        if file is not None:
            file.check_mapping(shared_writable=shared and bool(protection & PROT_WRITE))
            file.translate(file_page, 0)  # raises ENODEV where it has no pages
        if address is None:
            first = self.find_gap(pages)
        else:
            first = address >> PAGE_SHIFT
            if address % PAGE_SIZE or first + pages > TASK_SIZE >> PAGE_SHIFT:
                raise KernelError(EINVAL if address % PAGE_SIZE else ENOMEM, f"mmap at {address:#x}")
            self.unmap_pages(first, pages)
        held = None if file is None else file.hold()
        area = MemoryArea(first, pages, protection, held, file_page, shared=shared)
        self.areas.add(area)
        if held is not None and protection and pages <= _EAGER_PAGES:
            with suppress(KernelError):  # what cannot be shown now is a fault when it is touched
                self._show(area, first, pages)
        return first << PAGE_SHIFT

    def find_gap(self, pages: int, hint: int = 0) -> int:
        """Return the first page of an unmapped range: at `hint` if it is free, else below the stack.

        Raises KernelError(ENOMEM).
        """
        if hint >= _LOWEST_PAGE and hint + pages <= TASK_SIZE >> PAGE_SHIFT and not self.is_mapped(hint, pages):
            return hint
        top = (TASK_SIZE - STACK_BYTES - _STACK_GAP_BYTES) >> PAGE_SHIFT
        first = self.areas.gap_below(top, pages, _LOWEST_PAGE)
        if first is None:
            raise KernelError(ENOMEM, f"mmap of {pages} pages: no free range is as long")
        return first

    def is_mapped(self, first: int, pages: int) -> bool:
        """Return whether any page of a range is mapped."""
        return any(area.first_page < first + pages and first < area.end for area in self.areas)

    def unmap_pages(self, first: int, pages: int) -> None:
        """Unmap what is mapped in a range; what lies around it stays."""
        gone = self.areas.remove(first, first + pages)
        for area in gone:
            self._clear(area.first_page, area.pages)
        self._close(gone)

    def _close(self, gone: list[MemoryArea]) -> None:
        for area in gone:
            if area.file is not None:
                area.file.mappings.remove(self)
                area.file.close()

    def protect(self, first: int, pages: int, protection: int) -> None:
        """Change the protection of a range. Raises KernelError: ENOMEM where a page is not mapped, EACCES."""
        areas = self.areas.isolate(first, first + pages)
        page = first
        for area in areas:
            if area.first_page != page:
                break
            if area.file is not None:
                area.file.check_mapping(shared_writable=area.shared and bool(protection & PROT_WRITE))
            area.protection = protection
            self._restrict(area)
            page = area.end
        if page != first + pages:
            raise KernelError(ENOMEM, f"mprotect at {page << PAGE_SHIFT:#x}: nothing is mapped there")

    def move(self, first: int, pages: int, target: int) -> None:
        """Move mapped pages, which lie in one area, to a range where nothing is mapped (mremap).

        Raises KernelError(ENOMEM), and nothing has changed then.
        """
        taken = list(self._tables.entries(first, pages))
        for page, entries in taken:
            self._tables.reserve(target + page - first, len(entries))
        (area,) = self.areas.remove(first, first + pages)
        self._tables.set_all(first, pages, INVALID)
        moved = MemoryArea(target, pages, area.protection, area.file, area.file_page, shared=area.shared)
        self.areas.add(moved)
        if area.file is not None:
            area.file.mappings.remove(self)  # it was counted once more
        for page, entries in taken:
            for index, entry in enumerate(entries):
                if entry != INVALID:
                    self._tables.set(target + page + index - first, entry)
        self.stale = True

    def extend(self, area: MemoryArea, pages: int) -> None:
        """Make an area longer; what lies behind it is not mapped."""
        file_page = area.file_page + area.pages
        address = area.end << PAGE_SHIFT
        self.map(area.file, file_page, pages, area.protection, shared=area.shared, address=address)

    def discard(self, first: int, pages: int) -> None:
        """Drop what was written privately: file pages are the file's again, others zero (MADV_DONTNEED)."""
        for area in self.areas:
            low, high = max(first, area.first_page), min(first + pages, area.end)
            if low < high:
                self._clear(low, high - low)

    def set_break(self, address: int) -> int:
        """Move the end of the heap (brk), and return where it is: where it was, if that cannot be."""
        if address < self.program_end:
            return self.break_end
        old, new = hostmem.pages(self.break_end), hostmem.pages(address)
        if new > old:
            if self.is_mapped(old, new - old) or new - old > self._frames.machine.storage.size_bytes >> PAGE_SHIFT:
                return self.break_end
            self.map(None, 0, new - old, PROT_READ | PROT_WRITE, address=old << PAGE_SHIFT)
        elif new < old:
            self.unmap_pages(new, old - new)
        self.break_end = address
        return address

    def fork(self) -> "UserSpace":
        """Return a copy for a child: frames that are written are in both, and copied by whoever writes first.

        Raises KernelError(ENOMEM).
        """
        self.stale = True
        child = UserSpace(self._frames, self._code)
        child.forks = self.forks.child()
        child.program_end, child.break_end = self.program_end, self.break_end
        try:
            self.areas.copy_to(child.areas)
            self.forks.copy(self._tables, child._tables, self.areas, self._frames)
        except BaseException:
            child.release()
            raise
        return child

    # -- faults ----------------------------------------------------------------------------------------------------

    def fault(self, address: int, *, store: bool) -> Fault | None:
        """Answer a translation or protection exception; return what signal it is where it is the program's error.

        The CPU repeats the access, and so learns the page's new entry: nothing has to be purged.
        """
        page = address >> PAGE_SHIFT
        area = self.areas.find(page)
        if area is None:
            return Fault(SIGSEGV, SEGV_MAPERR, address)
        if not area.protection & (PROT_WRITE if store else PROT_READ | PROT_WRITE | PROT_EXEC):
            return Fault(SIGSEGV, SEGV_ACCERR, address)
        try:
            found = self._fault_store(area, page) if store else self._fault_load(area, page)
        except KernelError as error:  # the file cannot be read, or no storage is left: Linux would kill a process then
            return Fault(SIGBUS, BUS_ADRERR, address, error.strerror or str(error))
        return None if found else Fault(SIGBUS, BUS_ADRERR, address)

    def _fault_load(self, area: MemoryArea, page: int) -> bool:
        entry = self._tables.get(page)
        if entry & OWNED or not entry & INVALID:
            if area.protection & PROT_EXEC or not entry & INVALID:  # what can be loaded fails as an instruction only
                self._code.execute(entry & ADDRESS_BITS)
                if not entry & PROTECT:
                    self._code.store(entry & ADDRESS_BITS)
                entry &= ~NO_EXECUTE
            self._tables.set(page, entry & ~INVALID)
            return True
        if area.file is None:
            self._tables.set(page, self._frames.zeros | PROTECT | _execution(area))
            return True
        first = max(area.first_page, page - page % _AROUND_PAGES)
        pages = min(area.end, page - page % _AROUND_PAGES + _AROUND_PAGES) - first
        self._show(area, first, pages, fetched=True)
        return not self._tables.get(page) & INVALID

    def _fault_store(self, area: MemoryArea, page: int) -> bool:
        found = self._store_shared(area, page) if area.shared else self._store_private(area, page)
        if found:
            entry = self._tables.get(page)
            if area.protection & PROT_EXEC or entry & (OWNED | NO_EXECUTE) == OWNED:
                self._code.execute(entry & ADDRESS_BITS)
            self._code.store(entry & ADDRESS_BITS)
        return found

    def _store_private(self, area: MemoryArea, page: int) -> bool:
        frames, tables = self._frames, self._tables
        tables.reserve(page, 1)  # before a frame is taken, which would be lost if that failed
        entry = tables.get(page)
        if entry & OWNED:
            frame = entry & ADDRESS_BITS
            if frames.is_shared(frame):
                copied = frames.copy_of(frame)
                self._code.copied(frame, copied)
                self.forks.copied(page)
                frames.drop([frame])
                frame = copied
                self._forget_executed(entry)
            tables.set(page, frame | OWNED | entry & NO_EXECUTE)
            return True
        if not entry & INVALID:
            self._forget_executed(entry)
        source = entry & ADDRESS_BITS if not entry & INVALID else self._source(area, page)
        if source is None:
            return False
        if source == frames.zeros:
            self._fill(area, page)
            return True
        copied = frames.copy_of(source)
        self._code.copied(source, copied)
        tables.set(page, copied | OWNED | _execution(area))
        return True

    def _forget_executed(self, entry: int) -> None:
        """Have the CPU purge what it knows of a page that gets another frame, if it may have executed it."""
        if not entry & NO_EXECUTE:
            self.stale = True

    def _fill(self, area: MemoryArea, page: int) -> None:
        """Give a page of zeros a frame, and those behind it that are likely to be written next."""
        self._tables.set(page, self._frames.new() | OWNED | _execution(area))
        if area.file is not None:
            return
        with suppress(KernelError):  # those behind it can do without
            for each in range(page + 1, min(page - page % _FILL_PAGES + _FILL_PAGES, area.end)):
                if self._tables.get(each) == INVALID:
                    self._tables.set(each, self._frames.new() | OWNED | _execution(area))

    def _store_shared(self, area: MemoryArea, page: int) -> bool:
        assert area.file is not None, "shared anonymous memory is a file of its own"
        run = next(area.file.translate(area.file_page + page - area.first_page, 1, for_write=True), None)
        if run is None:
            return False
        self._tables.set(page, run.page_frame << PAGE_SHIFT)
        area.file.stored_into()
        return True

    def _source(self, area: MemoryArea, page: int) -> int | None:
        """Return the absolute address of what a page that is not in the tables shows; None beyond a file's end."""
        if area.file is None:
            return self._frames.zeros
        run = next(area.file.translate(area.file_page + page - area.first_page, 1), None)
        if run is None:
            return None
        return self._frames.zeros if run.kind is StorageKind.HOLE else run.page_frame << PAGE_SHIFT

    def _show(self, area: MemoryArea, first: int, pages: int, *, fetched: bool = False) -> None:
        """Enter pages of a file that have no entry, protected. Pages that may be executed are looked through first."""
        assert area.file is not None
        for run in area.file.translate(area.file_page + first - area.first_page, pages):
            page = area.first_page + run.file_page - area.file_page
            if area.protection & PROT_EXEC and run.kind is not StorageKind.HOLE:
                self._show_code(area, page, run, fetched=fetched)
            else:
                self._enter(page, run, _execution(area))

    def _show_code(self, area: MemoryArea, page: int, run: StorageRun, *, fetched: bool) -> None:
        for part, known in self._code.parts(run.page_frame, run.pages):
            if not known and not fetched:
                continue  # it is not read before the program touches it
            start = page + part.start - run.page_frame
            self._enter(start, StorageRun(0, part.start, len(part), run.kind), _execution(area))
            if known:
                continue
            offset = (run.file_page + part.start - run.page_frame) << PAGE_SHIFT
            for frame in self._code.examine(part, elf.code_ranges(area.file), offset):
                self._patch(page + frame - run.page_frame, frame)

    def _patch(self, page: int, frame: int) -> None:
        """Give the program a copy of a page that has instructions done in software, without them."""
        if self._tables.get(page) & OWNED:
            return
        common = self._code.common_copy(frame)
        if common is not None:
            self._tables.set(page, common | PROTECT)
            return
        copied = self._frames.copy_of(frame << PAGE_SHIFT)
        self._code.patch(copied, frame)
        self._tables.set(page, copied | OWNED | PROTECT)

    def _enter(self, page: int, run: StorageRun, execution: int) -> None:
        """Enter a run of a file's pages where there are no entries yet."""
        first = self._frames.zeros if run.kind is StorageKind.HOLE else run.page_frame << PAGE_SHIFT
        step = 0 if run.kind is StorageKind.HOLE else PAGE_SIZE
        patched = self._code.patched_in(run.page_frame, run.pages) if run.kind is not StorageKind.HOLE else ()
        for start, count in self._missing(page, run.pages):
            entry = (first + (start - page) * step) | PROTECT | execution
            if step:
                self._tables.set_run(start, count, entry)
            else:
                self._tables.set_all(start, count, entry)
        for frame in patched:
            self._patch(page + frame - run.page_frame, frame)

    def _missing(self, page: int, pages: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of pages that have no entry."""
        end, start = page + pages, page
        for first, entries in list(self._tables.entries(page, pages)):
            if start < first:
                yield start, first - start
            start = first + len(entries)
            if all(entry == INVALID for entry in entries):
                yield first, len(entries)
                continue
            run = 0
            for index, entry in enumerate(entries):
                if entry == INVALID:
                    run += 1
                elif run:
                    yield first + index - run, run
                    run = 0
            if run:
                yield start - run, run
        if start < end:
            yield start, end - start

    def _clear(self, first: int, pages: int) -> None:
        """Take pages out of the tables, and give back the frames that are the program's own."""
        for page, entries in self._tables.entries(first, pages):
            owned = [entry & ADDRESS_BITS for entry in entries if entry & OWNED]
            if owned:
                self._code.forget(self._frames.drop(owned))
            self._tables.set_all(page, len(entries), INVALID)
        self.stale = True

    def _restrict(self, area: MemoryArea) -> None:
        """Make the entries of an area as restrictive as its protection; what it allows comes back by faults."""
        for page, entries in self._tables.entries(area.first_page, area.pages):
            changed = array("Q")
            for entry in entries:
                if entry & OWNED:
                    kept = area.protection and not area.protection & PROT_EXEC
                    changed.append(entry | PROTECT if kept else entry | PROTECT | INVALID)
                elif area.protection & PROT_EXEC and not entry & INVALID:
                    changed.append(INVALID)  # to be looked through
                else:
                    changed.append(entry | PROTECT if area.protection and not entry & INVALID else INVALID)
            self._tables.store(page, changed)
        self.stale = True

    # -- files that change -----------------------------------------------------------------------------------------

    def pages_changed(self, mappings: FileMappings, first_page: int, pages: int) -> None:
        """Forget pages of a file, which lie elsewhere now, or are gone. Private copies stay, but not behind its end."""
        for area in self.areas:
            if area.file is None or area.file.mappings is not mappings:
                continue
            low = max(first_page, area.file_page)
            high = min(first_page + pages, area.file_page + area.pages)
            if low < high:
                first = area.first_page + low - area.file_page
                left = sum(run.pages for run in area.file.translate(low, high - low))
                for page, entries in self._tables.entries(first, left):
                    self._tables.store(page, array("Q", (e if e & OWNED else INVALID for e in entries)))
                self._clear(first + left, high - low - left)

    def pages_of(self, mappings: FileMappings) -> Iterator[tuple[int, int]]:
        """Yield which pages of a file are mapped here: the first one, and how many."""
        for area in self.areas:
            if area.file is not None and area.file.mappings is mappings:
                yield area.file_page, area.pages

    def write_back_shared(self) -> None:
        """Have files know which of their pages were stored into through shared mappings, and protect them again."""
        for area in self.areas:
            if area.file is None or not area.shared or not area.protection & PROT_WRITE:
                continue
            for page, entries in self._tables.entries(area.first_page, area.pages):
                for index, entry in enumerate(entries):
                    if not entry & (INVALID | PROTECT):
                        file_page = area.file_page + page + index - area.first_page
                        next(area.file.translate(file_page, 1, for_write=True), None)
                        self._tables.set(page + index, entry | PROTECT)
                        self.stale = True

    def present_frames(self) -> Iterator[int]:
        """Yield the frame of each page that is in the tables."""
        for _, entries in self._tables.all_entries():
            yield from (entry >> PAGE_SHIFT for entry in entries if not entry & INVALID)

    @property
    def present_pages(self) -> int:
        """Pages that are in the tables."""
        return sum(not entry & INVALID for _, entries in self._tables.all_entries() for entry in entries)

    # -- access by system calls ------------------------------------------------------------------------------------

    def absolute(self, address: int, *, store: bool = False) -> int:
        """Return the absolute address of a user address. Raises FaultError."""
        page = address >> PAGE_SHIFT
        entry = self._tables.get(page)
        if entry & INVALID or (store and entry & PROTECT):
            if not 0 <= address < TASK_SIZE:
                raise FaultError(Fault(SIGSEGV, SEGV_MAPERR, address))
            fault = self.fault(address, store=store)
            if fault is not None:
                raise FaultError(fault)
            self.stale = self.stale or store
            entry = self._tables.get(page)
        if store and entry & NO_EXECUTE:
            self._code.store(entry & ADDRESS_BITS)
        elif store:
            self._code.store_unseen(entry & ADDRESS_BITS)
        return entry & ADDRESS_BITS | address & (PAGE_SIZE - 1)

    def views(self, address: int, size_bytes: int, *, store: bool = False) -> Iterator[memoryview]:
        """Yield the bytes of a range where they lie, in contiguous pieces. Raises FaultError."""
        memory = self._frames.memory
        start = length = 0
        while size_bytes > 0:
            found = self.absolute(address, store=store)
            count = min(size_bytes, PAGE_SIZE - address % PAGE_SIZE)
            if length and found == start + length:
                length += count
            else:
                if length:
                    yield memory[start : start + length]
                start, length = found, count
            address, size_bytes = address + count, size_bytes - count
        if length:
            yield memory[start : start + length]

    def buffers(self, address: int, size_bytes: int) -> list[memoryview]:
        """Return where a system call stores what it reads: as much as can be stored. Raises FaultError for nothing."""
        found: list[memoryview] = []
        try:
            for piece in self.views(address, size_bytes, store=True):
                found.append(piece)
        except FaultError:
            if not found:
                raise
        return found

    def read(self, address: int, size_bytes: int) -> bytes:
        """Return a copy of bytes. Raises FaultError."""
        if 0 < size_bytes <= PAGE_SIZE - address % PAGE_SIZE:
            start = self.absolute(address)
            return bytes(self._frames.memory[start : start + size_bytes])
        return b"".join(self.views(address, size_bytes))

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Store bytes. Raises FaultError."""
        size_bytes = len(data)
        if 0 < size_bytes <= PAGE_SIZE - address % PAGE_SIZE:
            start = self.absolute(address, store=True)
            self._frames.memory[start : start + size_bytes] = data
            return
        rest = memoryview(data)
        for piece in self.views(address, size_bytes, store=True):
            piece[:] = rest[: len(piece)]
            rest = rest[len(piece) :]

    def poke(self, address: int, data: bytes) -> None:
        """Store bytes whatever the protection says, in pages of the program's own (ptrace). Raises FaultError."""
        for index, byte in enumerate(data):
            page = (address + index) >> PAGE_SHIFT
            area = self.areas.find(page)
            if area is None or area.shared:
                raise FaultError(Fault(SIGSEGV, SEGV_MAPERR, address + index))
            place = self.absolute(address + index)
            entry = self._tables.get(page)
            if not entry & OWNED or self._frames.is_shared(entry & ADDRESS_BITS):
                if not self._fault_store(area, page):
                    raise FaultError(Fault(SIGBUS, BUS_ADRERR, address + index))
                entry = self._tables.get(page)
                self._tables.set(page, entry if area.protection & PROT_WRITE else entry | PROTECT)
                place = entry & ADDRESS_BITS | (address + index) % PAGE_SIZE
            self._frames.memory[place] = byte
        self.stale = True

    def string(self, address: int, most_bytes: int = _STRING_BYTES) -> bytes:
        """Return the bytes up to a zero byte. Raises FaultError, KernelError(EINVAL) where there is none in reach."""
        parts = []
        left = most_bytes
        while left > 0:
            count = PAGE_SIZE - address % PAGE_SIZE
            start = self.absolute(address)
            piece = bytes(self._frames.memory[start : start + count])
            end = piece.find(0)
            if end >= 0:
                parts.append(piece[:end])
                return b"".join(parts)
            parts.append(piece)
            address, left = address + count, left - count
        raise KernelError(EINVAL, f"string of more than {most_bytes} bytes")


def _execution(area: MemoryArea) -> int:
    """Return the bit of an entry that protects a page from execution until that is tried, or 0."""
    return 0 if area.protection & PROT_EXEC else NO_EXECUTE

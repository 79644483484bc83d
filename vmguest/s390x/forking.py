"""What fork does to page tables: parent and child have the same frames, until one of them writes (mm/memory.c).

A shell forks again and again, and each time it and its child write the same few pages: a fault for each, and a copy.
Pages that were written since an earlier fork are copied at once, which costs a tenth of that.
"""

from vmguest.mm_area import PROT_WRITE
from vmguest.s390x.areas import Areas
from vmguest.s390x.page_frames import PageFrames
from vmguest.s390x.page_tables import ADDRESS_BITS, INVALID, NO_EXECUTE, PROTECT, PageTables

_MOST_COPIED_PAGES = 64  # of one table
_SHARED_EACH = 16  # of so many forks one shares all pages: which are written is seen anew
_FLAGS = ~ADDRESS_BITS


class Forks:
    """The forks of one program; `written_by_siblings` is told which pages a child copies."""

    def __init__(self, written_by_siblings: set[int] | None = None) -> None:
        self._siblings = written_by_siblings
        self._count = 0 if written_by_siblings is None else 1
        self._written_by_children: set[int] = set()

    def child(self) -> "Forks":
        """Return what a child begins with."""
        return Forks(self._written_by_children)

    def copied(self, page: int) -> None:
        """Note that the program wrote a page that it shared, and so copied it."""
        if self._siblings is not None:
            self._siblings.add(page)

    def copy(self, parent: PageTables, child: PageTables, areas: Areas, frames: PageFrames) -> None:
        """Give a child's empty tables what its parent's have. Raises KernelError(ENOMEM)."""
        ahead = self._count % _SHARED_EACH != 0
        self._count += 1
        if not ahead:
            self._written_by_children.clear()
        written = {page for page in self._written_by_children if _is_writable(areas, page)}
        for page, entries, owned in parent.owned_entries():
            child.reserve(page, len(entries))
            copied = [
                index
                for index in owned
                if ahead
                and entries[index] & (NO_EXECUTE | INVALID) == NO_EXECUTE
                and (not entries[index] & PROTECT or page + index in written)
            ]
            copies: list[int] = []
            if 0 < len(copied) <= _MOST_COPIED_PAGES:
                copies = frames.copies_of([entries[index] & ADDRESS_BITS for index in copied])
            shared = set(owned).difference(copied) if copies else owned
            frames.share([entries[index] & ADDRESS_BITS for index in shared])
            writable = [index for index in shared if not entries[index] & PROTECT]
            if writable:
                for index in writable:
                    entries[index] |= PROTECT
                parent.store(page, entries)
            for index, address in zip(copied, copies, strict=False):  # there may be none
                entries[index] = address | entries[index] & _FLAGS & ~PROTECT
            child.store(page, entries)


def _is_writable(areas: Areas, page: int) -> bool:
    area = areas.find(page)
    return area is not None and bool(area.protection & PROT_WRITE)

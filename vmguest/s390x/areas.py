"""The areas of a program's address space, by page: what is mapped where (struct vm_area_struct, as a sorted list)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from vmguest.fs.file import MappingSpace
from vmguest.mm_area import MemoryArea


class Areas:
    """Areas that do not overlap, by their first page. `space` is counted as a user of the files that they show."""

    def __init__(self, space: MappingSpace) -> None:
        self._space = space
        self._areas: list[MemoryArea] = []

    def __iter__(self) -> Iterator[MemoryArea]:
        return iter(self._areas)

    def __len__(self) -> int:
        return len(self._areas)

    def find(self, page: int) -> MemoryArea | None:
        """Return the area of a page, or None."""
        index = bisect_right(self._areas, page, key=_first_page) - 1
        if index < 0:
            return None
        area = self._areas[index]
        return area if page < area.end else None

    def add(self, area: MemoryArea) -> None:
        """Add an area where nothing is mapped; join it with the one before if both are the same kind of memory."""
        if area.file is not None:
            area.file.mappings.add(self._space)
        index = bisect_left(self._areas, area.first_page, key=_first_page)
        before = self._areas[index - 1] if index else None
        if (
            before is not None
            and before.end == area.first_page
            and before.file is None
            and area.file is None
            and before.protection == area.protection
            and before.shared == area.shared
        ):
            before.pages += area.pages
            return
        self._areas.insert(index, area)

    def copy_to(self, others: "Areas") -> None:
        """Have an empty list get the same areas."""
        for area in self._areas:
            others._areas.append(area.copy())
            if area.file is not None:
                area.file.mappings.add(others._space)

    def isolate(self, first: int, end: int) -> list[MemoryArea]:
        """Cut areas at both ends of a range, and return those within it."""
        for page in (first, end):
            index = bisect_right(self._areas, page, key=_first_page) - 1
            if index >= 0 and self._areas[index].first_page < page < self._areas[index].end:
                rest = self._areas[index].split(page)
                if rest.file is not None:
                    rest.file.mappings.add(self._space)
                self._areas.insert(index + 1, rest)
        low = bisect_left(self._areas, first, key=_first_page)
        high = bisect_left(self._areas, end, key=_first_page)
        return self._areas[low:high]

    def remove(self, first: int, end: int) -> list[MemoryArea]:
        """Take the areas of a range out, and return them."""
        gone = self.isolate(first, end)
        if gone:
            low = bisect_left(self._areas, first, key=_first_page)
            del self._areas[low : low + len(gone)]
        return gone

    def gap_below(self, end: int, pages: int, lowest: int) -> int | None:
        """Return the first page of the highest unmapped range of so many pages that ends at `end` or below."""
        for area in reversed(self._areas):
            if area.first_page >= end:
                continue
            if area.end + pages <= end:
                break
            end = min(end, area.first_page)
        return end - pages if end - pages >= lowest else None


def _first_page(area: MemoryArea) -> int:
    return area.first_page

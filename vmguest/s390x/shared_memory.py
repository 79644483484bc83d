"""Anonymous memory that a program shares with its children: a file without a name, in real storage."""

from collections.abc import Iterator
from typing import Self

from vmguest.frames import FrameMap
from vmguest.fs.file import FileMappings
from vmguest.storage import RealStorage, StorageRun


class SharedMemory:
    """So many pages, zero until they are written. It goes when the last mapping has been unmapped."""

    def __init__(self, storage: RealStorage, pages: int) -> None:
        self.mappings = FileMappings()
        self.pages = pages
        self._storage = storage
        self._frames = FrameMap(storage)
        self.holders = 1

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        """Yield where pages lie; with `for_write` they get frames first. Raises KernelError(ENOMEM)."""
        pages = min(pages, self.pages - first_page)
        if pages <= 0:
            return
        if for_write:
            before = self._frames.pages
            if self._frames.fill(first_page, pages) < pages:
                raise self._storage.shortage(pages)
            if self._frames.pages != before:  # others may have been shown zeros
                self.mappings.changed(first_page, pages)
        yield from self._frames.translate(first_page, pages)

    def check_mapping(self, *, shared_writable: bool) -> None:
        """Allow every mapping."""

    def stored_into(self) -> None:
        """Do nothing: it has no times."""

    def hold(self) -> Self:
        """Count one more mapping."""
        self.holders += 1
        return self

    def close(self) -> None:
        """Count one mapping less; the last one gives the frames back."""
        self.holders -= 1
        if not self.holders:
            self._frames.truncate(0)

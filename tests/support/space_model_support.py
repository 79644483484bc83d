"""What a program's memory must look like: page by page, without tables, areas or frames. A page holds one number."""

from dataclasses import dataclass, field, replace

from vmguest.mm_area import PROT_WRITE
from vmguest.s390x.space import BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, SIGBUS, SIGSEGV

MAPERR, ACCERR, BUS = (SIGSEGV, SEGV_MAPERR), (SIGSEGV, SEGV_ACCERR), (SIGBUS, BUS_ADRERR)


@dataclass(eq=False)
class ModelFile:
    """A file: what each of its pages holds."""

    pages: list[int]

    def resize(self, pages: int) -> None:
        """Cut it, or let it grow by pages of zeros."""
        self.pages = (self.pages + [0] * pages)[:pages]


@dataclass
class Cell:
    """One mapped page: of a file, or anonymous; `own` is what was stored into it privately."""

    protection: int
    file: ModelFile | None
    file_page: int
    shared: bool
    own: int | None = None


@dataclass
class ModelSpace:
    """What is mapped, by page."""

    cells: dict[int, Cell] = field(default_factory=dict)

    def access(self, page: int, stored: int | None) -> int | tuple[int, int]:
        """Load from a page, or store into it; return what it holds then, or the signal and its code."""
        cell = self.cells.get(page)
        if cell is None:
            return MAPERR
        if not cell.protection & (-1 if stored is None else PROT_WRITE):
            return ACCERR
        if cell.file is None or cell.own is not None:
            cell.own = stored if stored is not None else cell.own
            return cell.own or 0
        if cell.file_page >= len(cell.file.pages):
            return BUS
        if stored is not None:
            if cell.shared:
                cell.file.pages[cell.file_page] = stored
            else:
                cell.own = stored
            return stored
        return cell.file.pages[cell.file_page]

    def map(self, page: int, pages: int, cell: Cell) -> None:
        """Map pages alike."""
        for index in range(pages):
            self.cells[page + index] = replace(cell, file_page=cell.file_page + index)

    def unmap(self, page: int, pages: int) -> None:
        """Unmap pages."""
        for each in range(page, page + pages):
            self.cells.pop(each, None)

    def protect(self, page: int, pages: int, protection: int) -> bool:
        """Change the protection up to the first page that is not mapped; return whether all are."""
        for each in range(page, page + pages):
            if each not in self.cells:
                return False
            self.cells[each].protection = protection
        return True

    def discard(self, page: int, pages: int) -> None:
        """Forget what was stored privately."""
        for each in range(page, page + pages):
            if each in self.cells:
                self.cells[each].own = None

    def move(self, page: int, pages: int, target: int) -> None:
        """Move mapped pages."""
        moved = [self.cells.pop(page + index) for index in range(pages)]
        for index, cell in enumerate(moved):
            self.cells[target + index] = cell

    def fork(self) -> "ModelSpace":
        """Return a child's."""
        return ModelSpace({page: replace(cell) for page, cell in self.cells.items()})

    def file_was_cut(self, file: ModelFile) -> None:
        """Forget private copies of pages that a file has no longer."""
        for cell in self.cells.values():
            if cell.file is file and cell.file_page >= len(file.pages):
                cell.own = None

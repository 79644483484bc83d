"""What the search of a system's memory found, reduced to what claims need."""

from dataclasses import dataclass, field
from typing import NamedTuple

from dcss.account.pagemap import Flags
from dcss.account.targets import Origin
from dcss.verify.descriptors import FileDescriptor
from dcss.verify.search.page_contents import Contents
from dcss.verify.wording import count, file_label


class Copies(NamedTuple):
    """Pages of one file (or of none) found in one piece of memory of one holder; `where` names the lowest address.

    `merged_pages` of them stand in frames that KSM has merged, None where frames are hidden.
    """

    holder: str
    origin: Origin
    segment: str
    path: str | None
    pages: int
    where: str
    merged_pages: int | None = None

    def __str__(self) -> str:
        file = file_label(self.segment, "file system metadata" if self.path is None else self.path)
        holder = self.holder if self.origin == "process" else f"{self.holder} ({self.origin})"
        merged = f", {self.merged_pages:,} of them merged by KSM" if self.merged_pages else ""
        return f"{holder}: {count(self.pages, 'page')} of {file} in {self.where}{merged}"


@dataclass(slots=True, eq=False)
class BaselineFindings:
    """What a guest that copies holds: which contents, how many of them in frames that others map, and one address.

    `read` are those of which some copy does not lie in other pages that were found.
    """

    found: Flags
    read: Flags
    shared_pages: int = 0
    shared_address: int = 0


@dataclass(slots=True, eq=False)
class MemoryFindings:
    """What was found in the memory of one guest, or of the fork server.

    `denied` is why a process could not be searched at all, `unsearched` why some of its memory could not, `kernel_held`
    what the kernel holds for it where nobody can look, and `closed_descriptors` why descriptors could not be seen.
    """

    copies: list[Copies] = field(default_factory=list)
    searched_pages: int = 0
    denied: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)
    kernel_held: list[str] = field(default_factory=list)
    descriptors: list[FileDescriptor] = field(default_factory=list)
    closed_descriptors: list[str] = field(default_factory=list)
    baseline: BaselineFindings | None = None


@dataclass(slots=True, eq=False)
class SearchResult:
    """The findings of processes that are no guest's, and of each guest, by its name."""

    contents: Contents | None = None
    others: list[MemoryFindings] = field(default_factory=list)
    guests: dict[str, MemoryFindings] = field(default_factory=dict)

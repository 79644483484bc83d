"""Files and shared memory objects of other processes, opened and mapped here to be compared with."""

import os
import stat
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Self

from dcss.abi.page import PAGE_SHIFT
from dcss.account.maps import Vma, read_maps
from dcss.account.targets import Object
from dcss.host.file_questions import FileQuestions, NoAnswerError
from dcss.host.mapping import FileMapping
from dcss.host.populate import populate
from dcss.verify.backing import paths_to

_NO_FILES = b"anon_inode:"  # what the kernel makes for KVM, perf and io_uring, with one inode for all of them
LARGEST_BYTES = 64 << 30
"""Of an object that is looked at: the search keeps some 20 bytes for each of its pages."""


class UnreadableError(Exception):
    """An object cannot be opened or mapped here; the message says why, and what it takes."""


class NoContentError(UnreadableError):
    """There is nothing that could be read: a device, or an empty file."""


class OpenedObject(AbstractContextManager["OpenedObject"]):
    """An object that this process has open for reading, and mapped; nothing of it is present before it is populated.

    Raises UnreadableError.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        try:
            self.size_bytes = os.fstat(descriptor).st_size
            if not self.size_bytes:
                raise NoContentError("it is empty")
            if self.size_bytes > LARGEST_BYTES:
                raise UnreadableError(f"it has {self.size_bytes:,} bytes, more than the {LARGEST_BYTES:,} looked at")
            try:
                self._mapping = FileMapping(descriptor, self.size_bytes)
            except OSError as error:
                raise UnreadableError(f"it cannot be mapped: {error.strerror}") from error
        except BaseException:
            os.close(descriptor)
            raise
        self.object, self.name = _mapped_at(self._mapping.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._mapping.close()
        os.close(self.descriptor)

    @property
    def address(self) -> int:
        """Where it is mapped here."""
        return self._mapping.address

    def populate(self, runs: Iterable[tuple[int, int]]) -> None:
        """Make runs of its pages (first page, pages) present in this process's page table."""
        for first_page, pages in runs:
            populate(self.address + (first_page << PAGE_SHIFT), pages << PAGE_SHIFT)


def open_path(path: str, questions: FileQuestions) -> OpenedObject:
    """Open the file that `path` leads to. Raises UnreadableError."""
    try:
        if not stat.S_ISREG(questions.status(path).mode):
            raise NoContentError("it is no regular file")
        return OpenedObject(questions.open(path))
    except NoAnswerError as error:
        raise UnreadableError(str(error)) from error
    except PermissionError as error:
        raise UnreadableError(f"{error.strerror}; it takes leave to read the file, or CAP_DAC_READ_SEARCH") from error
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error


def open_mapped(wanted: Object, mappings: Sequence[tuple[int, Vma]], questions: FileQuestions) -> OpenedObject:
    """Open what processes map, by the kernel's link, its name, or a descriptor of theirs. Raises UnreadableError."""
    reasons = []
    if mappings[0][1].path.startswith(_NO_FILES):
        raise NoContentError("it is no regular file")
    for path in _ways_to(mappings):
        try:
            opened = open_path(path, questions)
        except NoContentError:
            if path.startswith(f"/proc/{mappings[0][0]}/map_files"):
                raise  # the kernel's own link leads to the object, whatever has its name by now
            continue
        except UnreadableError as error:
            reasons.append(str(error))
            continue
        if opened.object == wanted:
            return opened
        opened.__exit__()
    why = reasons[0] if reasons else "nothing leads to it"
    raise UnreadableError(f"{why}; /proc/PID/map_files opens it for CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE")


def _ways_to(mappings: Sequence[tuple[int, Vma]]) -> Iterable[str]:
    """Yield where an object may be opened: descriptors come last, since each must be looked at."""
    for pid, vma in mappings:
        yield from paths_to(pid, vma)
    for pid, vma in mappings:
        directory = f"/proc/{pid}/fd"
        with suppress(OSError):
            for number in os.listdir(directory):  # noqa: PTH208 - a Path for each takes as long as reading
                with suppress(OSError):
                    path = f"{directory}/{number}"
                    if os.fsencode(os.readlink(path)) == vma.path:  # noqa: PTH115
                        yield path


def _mapped_at(address: int) -> tuple[Object, bytes]:
    """Return the object and the name that maps show for a mapping of this process."""
    vmas = read_maps(os.getpid())
    vma = vmas[bisect_right([vma.start for vma in vmas], address) - 1]
    return vma.object, vma.path

"""How much of a mapping lies in huge pages: what one page-table entry for 2 MiB maps, by the kernel's own books."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dcss.abi.page import PAGE_SHIFT, PAGE_SIZE
from dcss.account.smaps import read_smaps
from dcss.host.mapping import HUGE_PAGE_BYTES, FileMapping, collapse, reserve_pages

_FIELD = "ShmemPmdMapped"  # Linux 4.8
_FEW_PAGES = 16  # far from half of a huge page, at which an average would be rounded up


def huge_bytes(pid: int, addresses: Collection[int]) -> Mapping[int, int | None]:
    """Return by address how many bytes are mapped so of the mapping that begins there; None where it is not shown.

    Raises ProcessGoneError, MeasurementDeniedError.
    """
    found: dict[int, int | None] = dict.fromkeys(addresses)
    if found:
        for mapping in read_smaps(pid):
            if mapping.vma.start in found:
                found[mapping.vma.start] = mapping.fields_bytes.get(_FIELD)
    return found


def no_huge_pages_because(directory: Path) -> str | None:
    """Return why a file of the tmpfs at `directory` gets no huge page, or None where it does."""
    try:
        with _one_huge_page(directory) as (_, mapping):
            errno = collapse(mapping)
            mapping.populate()
            found_bytes = huge_bytes(os.getpid(), {mapping.address})[mapping.address]
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if found_bytes:
        return None
    if found_bytes is None:
        return "/proc/PID/smaps has no ShmemPmdMapped (Linux 4.8)"
    return f"madvise(MADV_COLLAPSE): {os.strerror(errno)}" if errno else "the kernel made none"


@cache
def counts_are_averages() -> bool:
    """Say whether the kernel counts mappings of a huge page for all of it, rounded, and not for each of its pages.

    It does where it was built with CONFIG_NO_PAGE_MAPCOUNT (Linux 6.15). Needs frame numbers; tries it with a huge page
    of which a few pages are mapped twice.
    """
    from dcss.account.frames import map_counts  # with numpy, which CP does not import before it proves or measures
    from dcss.account.pagemap import Pagemap, frames_of

    try:
        with _one_huge_page(Path("/dev/shm")) as (descriptor, mapping):
            if not huge_bytes(os.getpid(), {mapping.address})[mapping.address]:
                return False
            again = FileMapping(descriptor, _FEW_PAGES * PAGE_SIZE)
            again.populate()
            with Pagemap(os.getpid()) as pagemap:
                frames = frames_of(pagemap.read(mapping.address >> PAGE_SHIFT, HUGE_PAGE_BYTES >> PAGE_SHIFT))
            twice, once = map_counts(frames[[0, -1]]).tolist()
            again.close()
    except OSError:
        return False
    return (twice, once) == (1, 1)


@contextmanager
def _one_huge_page(directory: Path) -> Iterator[tuple[int, FileMapping]]:
    """Yield an unnamed file of a tmpfs and its mapping: one huge page, if the machine has any, and present."""
    descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, HUGE_PAGE_BYTES)
        mapping = FileMapping(descriptor, HUGE_PAGE_BYTES)
        reserve_pages(descriptor, mapping, huge=True)
        mapping.populate()
        yield descriptor, mapping
        mapping.close()
    finally:
        os.close(descriptor)

"""How much of a mapping lies in huge pages: what one page-table entry for 2 MiB maps, by the kernel's own books."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from dcss.account.smaps import read_smaps
from dcss.host.mapping import HUGE_PAGE_BYTES, FileMapping, collapse, reserve_pages

_FIELD = "ShmemPmdMapped"  # Linux 4.8


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
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    try:
        os.ftruncate(descriptor, HUGE_PAGE_BYTES)
        mapping = FileMapping(descriptor, HUGE_PAGE_BYTES)
        reserve_pages(descriptor, mapping, huge=True)
        errno = collapse(mapping)
        mapping.populate()
        found_bytes = huge_bytes(os.getpid(), {mapping.address})[mapping.address]
        mapping.close()
    except OSError as error:
        return f"{directory}: {error.strerror}"
    finally:
        os.close(descriptor)
    if found_bytes:
        return None
    if found_bytes is None:
        return "/proc/PID/smaps has no ShmemPmdMapped (Linux 4.8)"
    return f"madvise(MADV_COLLAPSE): {os.strerror(errno)}" if errno else "the kernel made none"

"""Likely causes of copies that were found in processes."""

from collections.abc import Iterable

from dcss.inspect.selection import Chosen
from dcss.verify.search.results import SearchResult
from dcss.verify.wording import count


def read_ahead_hints(chosen: Iterable[Chosen], search: SearchResult, used_pages: Iterable[int]) -> tuple[str, ...]:
    """Return a line for each image of a file system of which far more pages are used in place than copied.

    `used_pages` says how many pages of each object the processes have mapped. A kernel that copies files copies as many
    as it reads; one that uses them in place, and copies a few, has read ahead behind a directory or a partition table.
    """
    hints = []
    for each, used in zip(chosen, used_pages, strict=True):
        if not each.own_runs:
            continue
        copied = [
            sum(copy.pages for copy in found.copies if copy.segment == each.label and copy.path is not None)
            for found in search.guests.values()
        ]
        if 0 < max(copied, default=0) < used // 2:
            hints.append(
                f"{each.label} is used in place, and {count(max(copied), 'page')} of its files are copied all the same:"
                " kernels read ahead behind directories and partition tables, and files lie there; in the guest, before"
                " it mounts DISK: blockdev --setra 0 DISK; blockdev --flushbufs DISK"
            )
    return tuple(hints)

"""What was found of each object and of each process, as rows."""

import os

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import runs_of
from dcss.inspect.looks import PageLook
from dcss.inspect.selection import Chosen, Selection
from dcss.results import GuestAccount, InspectedObject, InspectedProcess, MeasureResult, OtherMapper
from dcss.verify.search.results import MemoryFindings


def inspected_objects(look: PageLook, selection: Selection) -> tuple[InspectedObject, ...]:
    """Return a row for each object that was looked at, and for each that could not be read."""
    rows = [_object(look, place, each) for place, each in enumerate(selection.chosen)]
    rows += [
        InspectedObject(label, None, None, None, (), (), None, (), why)
        for label, why in (selection.unread | selection.passed_over).items()
    ]
    return tuple(rows)


def inspected_processes(look: PageLook, measured: MeasureResult) -> tuple[InspectedProcess, ...]:
    """Return a row for each process."""
    denied = {guest.target.name for guest in look.snapshot.guests if guest.denied is not None}
    found = {name: each for name, each in look.snapshot.search.guests.items() if name not in denied and not each.denied}
    return tuple(_process(account, found.get(account.name)) for account in measured.guests)


def _object(look: PageLook, place: int, chosen: Chosen) -> InspectedObject:
    device, inode = chosen.opened.object
    guests = [guest for guest in look.snapshot.guests if guest.denied is None]
    mappers = sum((guest.segments[place].proved & ~guest.segments[place].wrong).astype(np.int64) for guest in guests)
    runs = runs_of(np.flatnonzero(np.asarray(mappers) > 1))
    others = sorted(look.others[chosen.opened.object].items())
    visible = look.snapshot.frames
    return InspectedObject(
        chosen.label,
        f"{os.major(device)}:{os.minor(device)}",
        inode,
        chosen.opened.size_bytes,
        chosen.pids,
        tuple(OtherMapper(pid, name) for pid, name in others),
        sum(pages for _, pages in runs) if visible else None,
        tuple(runs) if visible else (),
    )


def _process(account: GuestAccount, found: MemoryFindings | None) -> InspectedProcess:
    """Return the row of a process; `found` is what was found in its memory, if that could be read."""
    host = account.host
    shared_bytes = None if host.rss_bytes is None or host.uss_bytes is None else host.rss_bytes - host.uss_bytes
    copied = merged = None
    if found is not None:
        # What a kernel keeps of a file system itself is no copy of a file.
        copies = [copy for copy in found.copies if copy.path is not None]
        copied = sum(copy.pages for copy in copies) * PAGE_SIZE
        if all(copy.merged_pages is not None for copy in copies):
            merged = sum(copy.merged_pages or 0 for copy in copies) * PAGE_SIZE
    return InspectedProcess(
        account.pids[0],
        account.engine,
        host.uss_bytes,
        None if shared_bytes is None else max(shared_bytes, 0),
        None if shared_bytes is None or host.uss_bytes is None else host.uss_bytes + max(shared_bytes, 0),
        copied,
        merged,
    )

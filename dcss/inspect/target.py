"""Processes and objects as the proofs and accounts take them: each process as a guest, each object as a segment."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dcss.abi.extmem import SegmentType
from dcss.abi.page import PAGE_SIZE
from dcss.account.arrays import distinct
from dcss.account.pagemap import Pages, is_file, is_present, runs_of
from dcss.account.proc import ProcessGoneError
from dcss.account.smaps import read_status
from dcss.account.space import ProcessPages
from dcss.account.targets import PROCESSES, AddressRange, GuestTarget, SegmentTarget, SystemTarget
from dcss.errors import MeasurementDeniedError
from dcss.inspect.processes import NamedProcess
from dcss.inspect.selection import Chosen

SYSTEM = "inspect"
_EVERYWHERE = AddressRange(0, 1 << 63)
_NOWHERE = AddressRange(0, 0)
_VIRTUAL = frozenset({b"VmSize"})


@dataclass(frozen=True, slots=True)
class _WholeFile:
    """An object as the one file of a segment, each page at its own place."""

    path: bytes
    pages: int
    damage: str = ""

    @property
    def runs(self) -> Sequence[tuple[int, int, int]]:
        return ((0, 0, self.pages),)


def system_of(
    processes: Sequence[NamedProcess],
    chosen: Sequence[Chosen],
    used_pages: Sequence[Pages],
    *,
    bystanders: Iterable[int] = (),
    named: bool,
) -> SystemTarget:
    """Return processes and objects as a system; `used_pages` are the pages of each object that processes have.

    Of objects that were `named` each page counts, of those that are in common what each process uses.
    """
    guests = tuple(_guest(process, in_place=not named) for process in processes)
    segments = tuple(_segment(each, pages) for each, pages in zip(chosen, used_pages, strict=True))
    return SystemTarget(
        SYSTEM, os.getpid(), (), guests, segments, bystanders=tuple(bystanders), held=False, terms=PROCESSES
    )


def used_pages(processes: Sequence[NamedProcess], chosen: Sequence[Chosen]) -> list[Pages]:
    """Return for each object which of its pages any of the processes has present now; what is not shown has none."""
    objects = frozenset(each.opened.object for each in chosen)
    found: list[list[Pages]] = [[] for _ in chosen]
    for process in processes:
        try:
            space = ProcessPages.read(process.pid, objects)
        except (MeasurementDeniedError, ProcessGoneError):
            continue
        for pages, each in zip(found, chosen, strict=True):
            here = space.of_object(each.opened.object)
            held = is_present(here.entries) & is_file(here.entries)
            pages.append(here.object_pages[held])
    none = np.zeros(0, np.int64)
    return [distinct(np.concatenate([none, *pages])) for pages in found]


def populate(chosen: Sequence[Chosen], pages: Sequence[Pages]) -> None:
    """Make pages of the objects present here, as far as the objects reach."""
    for each, wanted in zip(chosen, pages, strict=True):
        inside = wanted[wanted < -(-each.opened.size_bytes // PAGE_SIZE)]
        each.opened.populate(runs_of(inside))


def _guest(process: NamedProcess, *, in_place: bool) -> GuestTarget:
    try:
        storage_bytes = read_status(process.pid, _VIRTUAL).get("VmSize", 0)
    except (MeasurementDeniedError, ProcessGoneError):
        storage_bytes = 0
    return GuestTarget(
        str(process.pid),
        process.name,
        (process.pid,),
        "shared",
        storage_bytes,
        _NOWHERE,
        _EVERYWHERE,
        in_place=in_place,
        standalone=True,
    )


def _segment(chosen: Chosen, used: Pages) -> SegmentTarget:
    opened = chosen.opened
    file = _WholeFile(os.fsencode(chosen.label), -(-opened.size_bytes // PAGE_SIZE))
    return SegmentTarget(
        chosen.label,
        SegmentType.SR,
        chosen.label,
        opened.descriptor,
        opened.address,
        opened.size_bytes,
        None,
        (file,),
        mapped_as=opened.object,
        resident_bytes=len(used) * PAGE_SIZE,
        own_runs=chosen.own_runs,
    )

"""What some processes map: files and shared memory objects, by device and inode, and who maps each."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dcss.account.maps import Vma, parse_maps, read_maps
from dcss.account.proc import ProcessGoneError
from dcss.account.targets import Object
from dcss.errors import MeasurementDeniedError
from dcss.inspect.processes import NamedProcess, name_of

_DELETED = b" (deleted)"


@dataclass(slots=True)
class MappedObject:
    """A file or shared memory object that processes map: what maps call it, and the first mapping of each process.

    It is `written` if any of them writes it by a shared mapping.
    """

    object: Object
    name: bytes
    mappings: dict[int, Vma] = field(default_factory=dict)
    written: bool = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that map it."""
        return tuple(self.mappings)

    @property
    def label(self) -> str:
        """What reports call it: its path, or the name that the kernel shows."""
        return os.fsdecode(self.name)

    def is_called(self, name: str) -> bool:
        """Say whether `name` is a name of it: what maps show, or that of a POSIX, memfd or System V object."""
        shown = self.name.removesuffix(_DELETED)
        short = [shown.removeprefix(prefix) for prefix in (b"/dev/shm", b"/dev/shm/", b"/memfd:", b"/")]
        return os.fsencode(name) in {self.name, shown, *short}


def read_all_maps(processes: Sequence[NamedProcess]) -> dict[int, list[Vma]]:
    """Return the mappings of each process, by its id; those that are not shown are left out, as the claims say."""
    found: dict[int, list[Vma]] = {}
    for process in processes:
        with suppress(MeasurementDeniedError):
            found[process.pid] = read_maps(process.pid)
    return found


def mapped_objects(maps: Mapping[int, Iterable[Vma]]) -> list[MappedObject]:
    """Return what processes map, in the order in which it is found."""
    objects: dict[Object, MappedObject] = {}
    for pid, vmas in maps.items():
        for vma in vmas:
            if vma.inode:
                mapped = objects.setdefault(vma.object, MappedObject(vma.object, vma.path))
                mapped.mappings.setdefault(pid, vma)
                mapped.written |= vma.shared and vma.writable
    return list(objects.values())


def other_mappers(objects: Iterable[Object], named: Iterable[int]) -> dict[Object, dict[int, str]]:
    """Return for each object which processes map it besides `named` and this one, by their ids and with their names.

    Processes that this user may not look at are left out.
    """
    found: dict[Object, dict[int, str]] = {wanted: {} for wanted in objects}
    left_out = {os.getpid(), *named}
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        if pid in left_out:
            continue
        try:
            mapped = {vma.object for vma in parse_maps((directory / "maps").read_bytes()) if vma.inode}
            here = mapped & found.keys()
            name = name_of(pid) if here else ""
        except (OSError, ProcessGoneError):
            continue
        for each in here:
            found[each][pid] = name
    return found

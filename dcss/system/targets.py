"""What the accounts and the proof are given: process ids, addresses and shared memory objects; nothing guests said."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from dcss.account.targets import GuestTarget, SegmentTarget, StatedCounters, SystemTarget
from dcss.cp.segments.segment import FileClass, Segment
from dcss.cp.segments.shm import SharedObject
from dcss.image.file_source import FileSource
from dcss.image.files import FileExtents, image_files
from dcss.system.instance import GuestInstance
from dcss.system.state import SystemState

_Version = tuple[int, int, str]  # device and inode of an object, digest of its content


class ExtentCache:
    """Where the files of each version in storage lie; read once, except where guests may change that.

    Used from threads that prove or publish, one at a time, while the versions are pinned.
    """

    def __init__(self) -> None:
        self._files: dict[_Version, tuple[FileExtents, ...]] = {}

    def of(self, stored: SharedObject, digest: str | None) -> tuple[FileExtents, ...]:
        """Return the files of an object whose content has `digest`; None where guests may change it."""
        if digest is None:
            return tuple(image_files(FileSource(stored.reader_fd)))
        version = (stored.device, stored.inode, digest)
        if version not in self._files:
            self._files[version] = tuple(image_files(FileSource(stored.reader_fd)))
        return self._files[version]

    def add_files(self, target: SystemTarget, objects: Mapping[str, SharedObject]) -> SystemTarget:
        """Return a target with its segments' files; forget those of versions that are not in storage any more."""
        segments = tuple(
            replace(segment, files=self.of(objects[segment.shm_name], segment.digest)) for segment in target.segments
        )
        current = {(stored.device, stored.inode) for stored in objects.values()}
        self._files = {version: files for version, files in self._files.items() if version[:2] in current}
        return replace(target, segments=segments)


def target_of(system: SystemState) -> SystemTarget:
    """Describe a running system by what its CP knows of it, its segments' files excepted; ended guests are left out."""
    return SystemTarget(
        name=system.plan.name,
        cp_pid=os.getpid(),
        other_pids=tuple(pid for engine in system.engines.values() for pid in engine.pids),
        guests=tuple(_guest(system, guest) for guest in system.guests.values() if guest.pids),
        segments=tuple(
            SegmentTarget(
                name=name,
                type=segment.definition.ranges[0].type,
                shm_name=stored.name,
                descriptor=stored.reader_fd,
                address=stored.address,
                size_bytes=stored.size_bytes,
                digest=segment.digest,
            )
            for segment in system.cp.files.values()
            for name, stored in _objects(segment)
        ),
    )


def objects_of(system: SystemState) -> dict[str, SharedObject]:
    """Return what is in storage, by the objects' names."""
    return {stored.name: stored for segment in system.cp.files.values() for _, stored in _objects(segment)}


def version_name(segment: Segment) -> str:
    """Return what reports call a version: the segment's name; with its file number where it was replaced or purged."""
    if segment.file_class is FileClass.PENDING_PURGE:
        return f"{segment.name}.{segment.spid:04d}"
    return segment.name


def segment_users(system: SystemState) -> dict[str, int]:
    """Return how many guests have each version in storage loaded, by the name that `target_of` gives it."""
    descriptors = Counter(load.descriptor for machine in system.cp.machines.values() for load in machine.loads.values())
    return {
        name: descriptors[stored.reader_fd] + descriptors[stored.write_fd]
        for segment in system.cp.files.values()
        for name, stored in _objects(segment)
    }


def _objects(segment: Segment) -> Iterator[tuple[str, SharedObject]]:
    """Yield what a version has in storage: its object and, of one that guests may change, the saved content."""
    name = version_name(segment)
    if segment.stored is not None:
        yield name, segment.stored
    if segment.pristine is not None:
        yield f"{name}.saved", segment.pristine


def guest_counters(system: SystemState) -> dict[str, StatedCounters | str]:
    """Return the counters that each guest sent last, or why its engine has none; guests in their `run:` list lack."""
    found: dict[str, StatedCounters | str] = {}
    for guest in system.guests.values():
        if guest.counters is not None:
            found[guest.name] = guest.counters
        elif guest.ready and guest.running is not None and guest.running.no_counters_reason is not None:
            found[guest.name] = guest.running.no_counters_reason
    return found


def _guest(system: SystemState, guest: GuestInstance) -> GuestTarget:
    assert guest.running is not None, "it has processes"
    memory = guest.running.memory()
    return GuestTarget(
        name=guest.name,
        engine=guest.plan.engine,
        pids=guest.pids,
        expect=guest.plan.expect,
        storage_bytes=guest.plan.storage_bytes,
        window=memory.window,
        user_area=memory.user_area,
        origins=memory.origins,
        non_shared=frozenset(
            stored.name
            for load in system.cp.loaded(guest.name).values()
            if not load.shared
            for _, stored in _objects(load.segment)
        ),
    )

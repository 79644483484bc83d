"""What the accounts and the proof are given: process ids, addresses and shared memory objects; nothing guests said."""

import os
from collections import Counter
from collections.abc import Iterator

from dcss.account.targets import GuestTarget, SegmentTarget, StatedCounters, SystemTarget
from dcss.cp.program import ControlProgram
from dcss.cp.segments.segment import Segment
from dcss.cp.segments.shm import SharedObject
from dcss.system.instance import GuestInstance
from dcss.system.state import SystemState


def target_of(system: SystemState) -> SystemTarget:
    """Describe a running system by what its CP knows of it, its segments' files excepted; ended guests are left out."""
    return SystemTarget(
        name=system.plan.name,
        cp_pid=os.getpid(),
        other_pids=tuple(pid for engine in system.engines.values() for pid in engine.pids),
        guests=tuple(_guest(system, guest) for guest in system.guests.values() if guest.pids),
        segments=segment_targets(system.cp),
    )


def segment_targets(cp: ControlProgram) -> tuple[SegmentTarget, ...]:
    """Describe what CP has in storage, the segments' files excepted."""
    return tuple(
        SegmentTarget(
            name=name,
            type=segment.definition.ranges[0].type,
            shm_name=stored.name,
            descriptor=stored.reader_fd,
            address=stored.address,
            size_bytes=stored.size_bytes,
            digest=segment.digest,
            start=segment.definition.start,
        )
        for segment in cp.files.values()
        for name, stored in _objects(segment)
    )


def objects_of(cp: ControlProgram) -> dict[str, SharedObject]:
    """Return what is in storage, by the objects' names."""
    return {stored.name: stored for segment in cp.files.values() for _, stored in _objects(segment)}


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
    name = segment.version_name
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
        disks=memory.disks,
        in_place=memory.in_place,
        buffering=memory.buffering,
        non_shared=frozenset(
            stored.name
            for load in system.cp.loaded(guest.name).values()
            if not load.shared
            for _, stored in _objects(load.segment)
        ),
    )

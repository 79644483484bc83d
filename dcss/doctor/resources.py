"""How much of what runs out there is: shared memory and descriptors."""

import resource

from dcss.doctor.machine import Finding, Machine
from dcss.report.units import fmt_bytes

_DOCKER_DEFAULT_BYTES = 64 << 20
_ENOUGH_BYTES = 256 << 20  # the demo's segment of 100 MiB, and room for another
_DESCRIPTORS_PER_GUEST = 3  # CP's: hypercall port, console, pidfd
_DESCRIPTORS_OF_CP = 64
_ENOUGH_GUESTS = 1000


def shared_memory(machine: Machine) -> Finding:
    """Room in /dev/shm, where segments live."""
    space = machine.shared_memory()
    if space is None or not space.writable:
        found = "none" if space is None else "not writable"
        return Finding("/dev/shm", "missing", found, "everything", "sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm")
    found = f"{fmt_bytes(space.free_bytes)} free of {fmt_bytes(space.total_bytes)}"
    if space.free_bytes >= _ENOUGH_BYTES:
        return Finding("/dev/shm", "ok", found)
    limits = "the size of all segments together"
    if space.total_bytes == _DOCKER_DEFAULT_BYTES:
        return Finding("/dev/shm", "limit", f"{found}, which is Docker's default", limits, "docker run --shm-size=2g …")
    if space.total_bytes >= _ENOUGH_BYTES:
        return Finding("/dev/shm", "limit", found, limits, "ls -l /dev/shm shows what takes the room")
    return Finding("/dev/shm", "limit", found, limits, "sudo mount -o remount,size=2G /dev/shm")


def descriptors(machine: Machine) -> Finding:
    """Open files: CP raises its soft limit to the hard one."""
    soft, hard = machine.open_files
    if hard == resource.RLIM_INFINITY:
        return Finding("descriptors", "ok", "unlimited")
    guests = max(0, (hard - _DESCRIPTORS_OF_CP) // _DESCRIPTORS_PER_GUEST)
    found = f"{soft}, at most {hard}: enough for {guests:,} guests"
    if guests >= _ENOUGH_GUESTS:
        return Finding("descriptors", "ok", found)
    return Finding(
        "descriptors",
        "limit",
        found,
        "the number of guests of one system",
        "sudo prlimit --pid $$ --nofile=65536:65536 (for this shell)",
    )

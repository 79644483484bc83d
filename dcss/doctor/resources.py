"""Check what can run out: shared memory and descriptors."""

import resource

from dcss.doctor.host import Diagnosis, DoctorHost
from dcss.report.units import fmt_bytes

_DOCKER_DEFAULT_BYTES = 64 << 20
_ENOUGH_BYTES = 256 << 20  # the demo's segment of 100 MiB, and room for another
_DESCRIPTORS_PER_GUEST = 4  # CP's: hypercall port, console, pidfd, and a pidfd of the proof that holds it still
_DESCRIPTORS_OF_CP = 64
_ENOUGH_GUESTS = 1000


def shared_memory(host: DoctorHost) -> Diagnosis:
    """Check the free space of /dev/shm, where segments live."""
    space = host.shared_memory()
    if space is None or not space.writable:
        found = "none" if space is None else "not writable"
        return Diagnosis("/dev/shm", "missing", found, "everything", "sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm")
    found = f"{fmt_bytes(space.free_bytes)} free of {fmt_bytes(space.total_bytes)}"
    if space.free_bytes >= _ENOUGH_BYTES:
        return Diagnosis("/dev/shm", "ok", found)
    limits = "the size of all segments together"
    if space.total_bytes == _DOCKER_DEFAULT_BYTES:
        return Diagnosis(
            "/dev/shm", "limit", f"{found}, which is Docker's default", limits, "docker run --shm-size=2g …"
        )
    if space.total_bytes >= _ENOUGH_BYTES:
        return Diagnosis("/dev/shm", "limit", found, limits, "ls -l /dev/shm shows what takes the room")
    return Diagnosis("/dev/shm", "limit", found, limits, "sudo mount -o remount,size=2G /dev/shm")


def descriptors(host: DoctorHost) -> Diagnosis:
    """Check how many files CP may open; it raises its soft limit to the hard one."""
    soft, hard = host.open_files
    if hard == resource.RLIM_INFINITY:
        return Diagnosis("descriptors", "ok", "unlimited")
    guests = max(0, (hard - _DESCRIPTORS_OF_CP) // _DESCRIPTORS_PER_GUEST)
    found = f"{soft}, at most {hard}: enough for {guests:,} guests"
    if guests >= _ENOUGH_GUESTS:
        return Diagnosis("descriptors", "ok", found)
    return Diagnosis(
        "descriptors",
        "limit",
        found,
        "the number of guests of one system",
        "sudo prlimit --pid $$ --nofile=65536:65536 (for this shell)",
    )

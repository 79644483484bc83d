"""What the host gives a guest to boot from. It imports no part of the guest kernel: CP makes specifications."""

import json
from typing import NamedTuple

CLONE, FULL = "clone", "full"
TMPFS_MODE = "tmpfs"  # of a mount: it has no device, and is empty


class ProgramOptions(NamedTuple):
    """What an `exec` step says beside its words; `step` is its number in `run`."""

    step: int
    background: bool = False
    environment: tuple[str, ...] = ()
    strace: bool = False


class GuestSpec(NamedTuple):
    """A guest's own parameters: what its kernel command line and fstab would hold, and nothing of the host."""

    name: str
    storage_bytes: int
    dcssblk: tuple[str, ...]  # entries of dcssblk.segments=
    mounts: tuple[tuple[str, str, tuple[str, ...], str], ...]  # device, place, options; ramdisk, mtd, tmpfs or empty
    run: tuple[tuple[str, ...], ...]  # of each step its verb, then a pattern, or the words of exec
    disks: tuple[tuple[str, bool], ...] = ()  # name and whether it is writable; their descriptors come beside this
    boot: str = FULL  # or clone: from a guest that has the same specification but for the name
    timings: bool = False  # it tells the host where its start goes
    programs: tuple[ProgramOptions, ...] = ()  # of the exec steps that have options
    time_limit_seconds: float | None = None  # for the `run` list
    namesave: tuple[str, ...] = ()  # the restricted segments that CP lets it load: others get other answers

    def pack(self) -> bytes:
        """Return the specification as one packet."""
        return json.dumps(self).encode()

    @classmethod
    def unpack(cls, packet: bytes) -> "GuestSpec":
        """Read a packet that `pack` made."""
        name, storage_bytes, dcssblk, mounts, run, disks, boot, timings, *later = json.loads(packet)
        programs, limit, namesave = later
        return cls(
            name,
            storage_bytes,
            tuple(dcssblk),
            tuple((device, at, tuple(options), mode) for device, at, options, mode in mounts),
            tuple(tuple(step) for step in run),
            tuple((disk, writable) for disk, writable in disks),
            boot,
            timings,
            tuple(
                ProgramOptions(step, background, tuple(words), strace) for step, background, words, strace in programs
            ),
            limit,
            tuple(namesave),
        )

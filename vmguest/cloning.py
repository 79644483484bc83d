"""Guests that boot alike: what all of an entry can have in common, and what clones the first one.

Clones have the memory of the guest that they were made of. So a file must not have been copied into it, nothing may
have been written, and nothing may have been read that another guest could have written since.
"""

from typing import NamedTuple, Protocol

from dcss.abi.mount import IN_PLACE
from vmguest.block.dcssblk import DcssblkDevice
from vmguest.boot_record import BootRecord
from vmguest.kernel import Kernel
from vmguest.spec import TMPFS_MODE, GuestSpec


class Clone(NamedTuple):
    """What a clone of a guest is: its own name, and when it was made, by the monotonic clock.

    `failure` is what kept it from having of the host what the guest had.
    """

    name: str
    seconds: float
    failure: Exception | None = None


class CloneMaker(Protocol):
    """Makes further guests of this one, at the point up to which all of its entry are alike."""

    def refuse(self, reason: str) -> None:
        """Say that this guest cannot be cloned. Called instead of `make`."""
        ...

    def make(self, record: BootRecord) -> Clone | None:
        """Have clones made; return None in this guest, and in each clone, whenever it is made, what it is.

        There the record was repeated, unless that failed.
        """
        ...


def reason_against(spec: GuestSpec) -> str:
    """Return why guests of a specification cannot be clones of one; an empty text where they may be."""
    for device, at, options, mode in spec.mounts:
        if mode != TMPFS_MODE and (mode or IN_PLACE.isdisjoint(options)):
            return f"the mount of {device} at {at} copies files"
    return "it has disks on files of this machine" if spec.disks else ""


def sharable_mount(kernel: Kernel, device: str, options: tuple[str, ...], mode: str = "") -> bool:
    """Return whether guests can have a mount in common: it is read in place, and nobody writes what it is on.

    An empty tmpfs can be in common, too: what is written to it later is each guest's own.
    """
    if mode == TMPFS_MODE:
        return True
    disk = kernel.block_devices.by_name(device.removeprefix("/dev/"))
    if not isinstance(disk, DcssblkDevice) or ("rw" in options or not (disk.read_only or "ro" in options)):
        return False
    return all(member.segment.do_nonshared or not member.segment.type.shared_writable for member in disk.members)


def copied_bytes(kernel: Kernel) -> int:
    """Return what a kernel has made of its own of files and for programs: clones would share it."""
    return sum(each for each in kernel.counters() if each is not None)

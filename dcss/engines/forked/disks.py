"""The files that a guest has as disks, opened for it: it gets descriptors, and never a name."""

import mmap
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from dcss.account.maps import read_maps
from dcss.config.plan import DiskPlan
from dcss.engines.base import GuestRefusedError
from dcss.host.files import WrongKindError, open_regular


class OpenDisks(NamedTuple):
    """Descriptors in the order of the plan, and the files as /proc/PID/maps names them: device and inode.

    `writable` says whether any of them is.
    """

    descriptors: tuple[int, ...] = ()
    files: frozenset[tuple[int, int]] = frozenset()
    writable: bool = False


def open_disks(disks: Sequence[DiskPlan], stack: ExitStack) -> OpenDisks:
    """Open each disk's file, for writing only where the disk is writable; `stack` closes the descriptors.

    It may block, on a network file system. Raises GuestRefusedError with the line of the configuration.
    """
    descriptors = tuple(_open(disk, stack) for disk in disks)
    return OpenDisks(descriptors, _mapped_files(descriptors), any(disk.writable for disk in disks))


def _open(disk: DiskPlan, stack: ExitStack) -> int:
    try:
        descriptor = open_regular(disk.path, writable=disk.writable)
    except WrongKindError as error:
        raise GuestRefusedError(f"{disk.where}: {error}") from error
    except OSError as error:
        how = "reading and writing" if disk.writable else "reading"
        raise GuestRefusedError(f"{disk.where}: {disk.path} cannot be opened for {how}: {error.strerror}") from error
    stack.callback(os.close, descriptor)
    return descriptor


def _mapped_files(descriptors: Sequence[int]) -> frozenset[tuple[int, int]]:
    """Return device and inode of files as a mapping shows them; stat gives others on btrfs and overlayfs."""
    import numpy as np

    with ExitStack() as stack:
        addresses = set()
        for descriptor in descriptors:
            if size_bytes := min(os.fstat(descriptor).st_size, mmap.PAGESIZE):
                mapping = stack.enter_context(mmap.mmap(descriptor, size_bytes, mmap.MAP_SHARED, mmap.PROT_READ))
                addresses.add(np.frombuffer(mapping, np.uint8).ctypes.data)
        return frozenset(vma.object for vma in read_maps(os.getpid()) if vma.start in addresses)

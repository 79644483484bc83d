"""The files that a guest has as disks, opened for it: it gets descriptors, and never a name."""

import os
from collections.abc import Sequence
from contextlib import ExitStack

from dcss.config.plan import DiskPlan
from dcss.engines.base import GuestRefusedError
from dcss.host.files import WrongKindError, open_regular


def open_disks(disks: Sequence[DiskPlan], stack: ExitStack) -> list[int]:
    """Open each disk's file, for writing only where the disk is writable; `stack` closes the descriptors.

    It may block, on a network file system. Raises GuestRefusedError with the line of the configuration.
    """
    return [_open(disk, stack) for disk in disks]


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

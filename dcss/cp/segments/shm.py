"""One named POSIX shared memory object: the storage of one version of one segment.

CP creates it exclusively, reserves every page, has it filled, and keeps a read-only mapping with all frames present.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable

import posix_ipc

from dcss.abi.page import PAGE_SIZE
from dcss.errors import PublishError
from dcss.host.mapping import FileMapping, collapse, reserve_pages
from dcss.host.shm import MAX_SAME_NAME, ObjectName, check_space
from dcss.host.signals import interrupts_held

OBJECT_MODE = 0o440  # nobody, the owner included, opens it for writing by name
_STAT_BLOCK_BYTES = 512


class SharedObject:
    """A shared memory object of `size_bytes`, filled by `fill(write_fd)` and mapped read-only at `address`.

    `number` is the first number tried in its name; if that name is taken, for instance by another user's system, the
    next one is tried. With `huge` its pages are huge ones, as far as the machine has them. `write_fd` stays in CP;
    `reader_fd` is read-only, lives as long as the object, and may be sent, never closed, by others. `registry` holds
    the object from before it exists until it is closed, so that an interrupt at any instant leaves someone who knows
    what to remove. Raises PublishError; nothing of the object is left then.
    """

    __slots__ = (
        "_keeper_fd",
        "_mapping",
        "_registry",
        "address",
        "buffer",
        "device",
        "inode",
        "name",
        "reader_fd",
        "size_bytes",
        "write_fd",
    )

    def __init__(
        self,
        system: str,
        label: str,
        size_bytes: int,
        fill: Callable[[int], object],
        *,
        number: int = 1,
        huge: bool = True,
        registry: set["SharedObject"] | None = None,
    ) -> None:
        if size_bytes <= 0 or size_bytes % PAGE_SIZE:
            raise ValueError(f"object {label}: found {size_bytes} bytes, wanted a positive multiple of {PAGE_SIZE}")
        self.size_bytes = size_bytes
        self.write_fd = self.reader_fd = self._keeper_fd = -1
        self._mapping: FileMapping | None = None
        self.name = ""
        self._registry = set() if registry is None else registry
        check_space(f"segment {label}", size_bytes)
        self._registry.add(self)
        try:
            self._create(ObjectName(system, label, number))
            self._fill(label, fill, huge=huge)
        except (OSError, posix_ipc.Error) as error:
            self.close()
            if isinstance(error, PublishError):
                raise
            raise PublishError(
                f"segment {label}: {size_bytes} bytes could not be put into /dev/shm: {error}"
            ) from error
        except BaseException:
            self.close()
            raise

    def _create(self, wanted: ObjectName) -> None:
        """Create under the first free number, with a descriptor whose lock tells sweepers that a CP lives."""
        for number in range(wanted.number, wanted.number + MAX_SAME_NAME):
            name = str(wanted._replace(number=number))
            with interrupts_held():
                try:
                    self.write_fd = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=OBJECT_MODE).fd
                except posix_ipc.ExistentialError:
                    continue
                self.name = name
                self._keeper_fd = self.reader()
            os.fchmod(self.write_fd, OBJECT_MODE)  # whatever the umask is
            fcntl.flock(self._keeper_fd, fcntl.LOCK_EX)
            if os.fstat(self._keeper_fd).st_nlink:
                return
            self._close_descriptors()  # a sweep took it for a leftover before it was locked
        raise PublishError(f"segment {wanted.label}: no free name among {MAX_SAME_NAME} from {wanted} in /dev/shm")

    def _fill(self, label: str, fill: Callable[[int], object], *, huge: bool) -> None:
        os.ftruncate(self.write_fd, self.size_bytes)  # first: mounts with huge=within_size look at it
        with interrupts_held():
            self.reader_fd = self.reader()
            self._mapping = mapping = FileMapping(self._keeper_fd, self.size_bytes)  # keeps the lock of what it maps
            os.close(self._keeper_fd)
            self._keeper_fd = -1
            self.address, self.buffer = mapping.address, mapping.view
        reserve_pages(self.write_fd, mapping, huge=huge)
        fill(self.write_fd)
        status = os.fstat(self.write_fd)
        if status.st_size != self.size_bytes:
            raise PublishError(
                f"segment {label}: its content has {status.st_size} bytes, wanted at most {self.size_bytes}"
            )
        if status.st_blocks * _STAT_BLOCK_BYTES < self.size_bytes:
            os.posix_fallocate(self.write_fd, 0, self.size_bytes)  # the fill gave up pages
        self.device, self.inode = status.st_dev, status.st_ino
        if huge:
            collapse(mapping)  # what the first time was in use by others, or was given up
        mapping.populate()

    def check_whole(self) -> None:
        """Raise PublishError if the object was truncated: who touches what it lost ends by SIGBUS."""
        size_bytes = os.fstat(self.reader_fd).st_size
        if size_bytes != self.size_bytes:
            raise PublishError(
                f"object {self.name}: found {size_bytes} bytes, wanted {self.size_bytes}: another process changed its"
                " size; end its guests, purge it, and save or publish it anew"
            )

    def digest(self) -> str:
        """Return the SHA-256 in hex of what the object holds. Raises PublishError if it was truncated."""
        self.check_whole()
        with open(self.reader(), "rb", buffering=0) as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        self.check_whole()
        return digest

    def reader(self) -> int:
        """Open a read-only descriptor of the object, also after it was unlinked. The caller closes it."""
        return os.open(f"/proc/self/fd/{self.write_fd}", os.O_RDONLY | os.O_CLOEXEC)

    def unlink(self) -> None:
        """Remove the name, once; mappings and descriptors stay good."""
        name, self.name = self.name, ""
        if name:
            with contextlib.suppress(posix_ipc.ExistentialError):  # someone removed it by hand
                posix_ipc.unlink_shared_memory(name)

    def close(self) -> None:
        """Unlink, unmap, close. A view that someone still holds of `buffer` keeps the mapping until it goes."""
        with interrupts_held():
            self.unlink()
            self._close_descriptors()
            if self._mapping is not None:
                self._mapping.close()
                self._mapping = None
            self._registry.discard(self)

    def _close_descriptors(self) -> None:
        for descriptor in (self.write_fd, self.reader_fd, self._keeper_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self.write_fd = self.reader_fd = self._keeper_fd = -1

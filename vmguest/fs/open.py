"""Open files (struct file) and how they come to be: open(2) with its flags, on files, directories and devices."""

import os
import stat
from collections.abc import Iterator, Sequence
from errno import EACCES, EBADF, EEXIST, EINVAL, EISDIR, ELOOP, ENOTDIR, ENXIO, ESPIPE
from time import time
from typing import NamedTuple, Self

from dcss.errors import KernelError
from dcss.ext2.inode import InodeChange
from vmguest.credentials import MAY_READ, MAY_WRITE
from vmguest.fs.attr import drop_set_id, touch_atime
from vmguest.fs.devices import DeviceFile
from vmguest.fs.file import (
    Actor,
    FileMappings,
    FileOperations,
    UnmappableFile,
    UserMemory,
    WritableFileOperations,
)
from vmguest.fs.ioctls import FIOASYNC, FIONBIO, FIONREAD, INT
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs, create, existing, parent_of, writer_of
from vmguest.fs.permission import check
from vmguest.fs.watch_events import IN_ACCESS, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_MODIFY, IN_OPEN
from vmguest.storage import StorageRun

# asm-generic/fcntl.h, which s390 uses
O_RDONLY, O_WRONLY, O_RDWR, O_ACCMODE = 0, 1, 2, 3
O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK = 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000
O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC, O_PATH = 0o200000, 0o400000, 0o2000000, 0o10000000
_ONLY_AT_OPEN = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC  # F_GETFL shows none of these

SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE = range(5)


class FileOwner(NamedTuple):
    """Who hears of an open file: the kind and number of struct f_owner_ex, and by which signal; 0 is SIGIO."""

    kind: int = 0
    number: int = 0
    signal: int = 0


_NO_OWNER = FileOwner()


class FileDescription:
    """One open of a file: its position is shared by all descriptors that came of it, and it keeps its mount busy.

    It lives until everybody who holds it has closed it: descriptors, and mappings made from it. `target` is `file`
    where it can be written, `device` where it is no data of the file system, but a device or a pipe, which is closed
    at the end. What would have to wait raises KernelError(EAGAIN).
    """

    __slots__ = (
        "__weakref__",
        "_device",
        "_holders",
        "_target",
        "_vfs",
        "dentry",
        "file",
        "flags",
        "owner",
        "position",
    )

    def __init__(
        self,
        vfs: Vfs,
        dentry: Dentry,
        file: FileOperations,
        flags: int,
        *,
        target: WritableFileOperations | None = None,
        device: DeviceFile | None = None,
    ) -> None:
        self.dentry = dentry.hold()
        self.file = file
        self.flags = flags & ~_ONLY_AT_OPEN
        self.position = 0
        self.owner = _NO_OWNER
        self._vfs = vfs
        self._target = target
        self._device = device
        self._holders = 1
        dentry.mount.writers += self._writes_to_mount

    @property
    def mappings(self) -> FileMappings:
        """Who maps the file."""
        return self.file.mappings

    @property
    def is_closed(self) -> bool:
        """Whether nobody holds it any more."""
        return not self._holders

    @property
    def holders(self) -> int:
        """How many hold it."""
        return self._holders

    def hold(self) -> Self:
        """Count one more holder, which will `close` it too."""
        self._holders += 1
        return self

    def close(self) -> None:
        """Count one holder less; the last one ends the open. Closing what has ended does nothing."""
        if self._holders:
            self._holders -= 1
            if self._holders == 0:
                if self._vfs.locks is not None:
                    self._vfs.locks.release(self.dentry, self)
                self.dentry.mount.writers -= self._writes_to_mount
                self.dentry.release()
                if self._device is not None:
                    self._device.close()
                    return
                if self._vfs.watches is not None:
                    event = IN_CLOSE_NOWRITE if self.flags & O_ACCMODE == O_RDONLY else IN_CLOSE_WRITE
                    self._vfs.notify(event, self.dentry)
                if self.dentry.inode.is_regular:
                    self._release_inode()

    def _release_inode(self) -> None:
        file_system, inode = self.dentry.mount.file_system, self.dentry.inode
        file_system.release(inode)
        if self._vfs.watches is not None and inode.links_count == 0 and not file_system.is_held(inode):
            self._vfs.watches.gone(file_system, inode)

    def read(self, buffer: memoryview) -> int:
        """Copy bytes from the position on, and move it; return how many. Raises KernelError: EBADF, EISDIR, EAGAIN."""
        count = self._read(buffer, self.position)
        if self.file.seekable:
            self.position += count
        return count

    def pread(self, buffer: memoryview, position: int) -> int:
        """Copy bytes from `position` on; return how many. Raises KernelError: EBADF, EISDIR, EINVAL, ESPIPE."""
        self._check_seekable()
        return self._read(buffer, position)

    def _read(self, buffer: memoryview, position: int) -> int:
        self._check_readable()
        count = self.file.read(position, buffer)
        if self._device is None:
            touch_atime(self.dentry)
            if count:
                self._vfs.notify(IN_ACCESS, self.dentry)
        return count

    def sendfile(self, target: int, count: int) -> int:
        """Send bytes from the position on to a descriptor of this machine, a socket, pipe or file; move the position.

        They go from where they lie, and pass through no buffer. Returns how many were taken, fewer than `count` at the
        end of the file, or where a descriptor that does not block is full. Raises KernelError(EBADF), OSError.
        """
        self._check_readable()

        def take(piece: memoryview) -> int:
            try:
                return os.write(target, piece)
            except BlockingIOError:
                return 0

        sent = self.file.sendfile(self.position, count, take)
        self.position += sent
        if self._device is None:
            touch_atime(self.dentry)
        return sent

    def readv(self, buffers: Sequence[memoryview]) -> int:
        """Fill buffers in turn; return how many bytes were read in all. Raises KernelError: EBADF, EISDIR."""
        done = 0
        for buffer in buffers:
            count = self.read(buffer)
            done += count
            if count < len(buffer):
                break
        return done

    def translate(self, first_page: int, pages: int, *, for_write: bool = False) -> Iterator[StorageRun]:
        """Yield where pages of the file lie. Raises KernelError(ENODEV) where it has none."""
        if for_write:
            self._before_change()
        return self.file.translate(first_page, pages, for_write=for_write)

    def check_mapping(self, *, shared_writable: bool) -> None:
        """Refuse what mmap(2) refuses: a file not open for reading, stores into one not open for reading and writing.

        Raises KernelError(EACCES).
        """
        access = self.flags & O_ACCMODE
        if access == O_WRONLY or (shared_writable and access != O_RDWR):
            raise KernelError(EACCES, f"mmap of {os.fsdecode(self.dentry.path)}: not open for that")

    def stored_into(self) -> None:
        """Set the times of a change, as ext2 does when a mapped page is first stored into; tmpfs does not."""
        file_system = self.dentry.mount.file_system
        if file_system.device is not None and file_system.writer is not None:
            file_system.writer.set_attributes(self.dentry.inode, InodeChange(mtime=int(time())))

    def write(self, data: bytes | memoryview) -> int:
        """Write at the position, with O_APPEND at the end, and move it; return how much of `data` found room.

        Raises KernelError: EBADF where it is not open for writing; where nothing found room ENOSPC, EAGAIN, EPIPE.
        """
        target = self._writable()
        if not target.seekable:
            return target.write(0, data)
        if self.flags & O_APPEND:
            self.position = target.size_bytes
        view, done = memoryview(data), 0
        while done < len(view):
            try:
                count = self.pwrite(view[done:], self.position)
            except KernelError:
                if not done:
                    raise
                break
            self.position += count
            done += count
        return done

    def write_all(self, data: bytes | memoryview) -> int:
        """Write all of `data` at the position; return how much that is.

        Raises KernelError as `write` does, also where only a part found room.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self.write(rest) :]
        return len(data)

    def writev(self, buffers: Sequence[bytes | memoryview]) -> int:
        """Write buffers in turn, as one; return how much found room. Raises KernelError as `write` does."""
        return self.write(b"".join(buffers))

    def pwrite(self, data: bytes | memoryview, position: int) -> int:
        """Write at `position`, with O_APPEND at the end all the same, as Linux; return how much found room.

        Raises KernelError: EBADF, ENOSPC, EFBIG, EINVAL, ESPIPE.
        """
        self._check_seekable()
        target = self._writable()
        self._before_change()
        done = target.write(target.size_bytes if self.flags & O_APPEND else position, data)
        if done and self._device is None:
            self._vfs.notify(IN_MODIFY, self.dentry)
        return done

    def truncate(self, size_bytes: int) -> None:
        """Cut the file or let it grow by a hole. Raises KernelError(EINVAL): not open for writing, a size below 0."""
        target = self._writable(EINVAL)
        self._before_change()
        target.truncate(size_bytes)
        if self._device is None:
            self._vfs.notify(IN_MODIFY, self.dentry)

    def fsync(self) -> None:
        """Write what was changed to the device: this file's data, and all metadata (fsync(2)).

        Raises KernelError: EINVAL where there is nothing that could be written, EIO.
        """
        if not self.file.seekable:
            raise KernelError(EINVAL, f"fsync of {os.fsdecode(self.dentry.path)}: nothing of it is on a device")
        writer = self.dentry.mount.file_system.writer
        if writer is not None:
            writer.sync()

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move the position, and return it (generic_file_llseek: all that is not behind the end is data).

        Raises KernelError: EINVAL before the beginning or for another `whence`, ENXIO data or hole behind the end,
        ESPIPE for what has no positions.
        """
        self._check_seekable()
        if self.file.endless:
            self.position = 0
            return 0
        size_bytes = self.file.size_bytes
        if whence in {SEEK_DATA, SEEK_HOLE}:
            if not 0 <= offset < size_bytes:
                raise KernelError(ENXIO, f"seek to {offset}: the file has {size_bytes} bytes")
            target = offset if whence == SEEK_DATA else size_bytes
        elif whence in {SEEK_SET, SEEK_CUR, SEEK_END}:
            target = offset + (0, self.position, size_bytes)[whence]
        else:
            raise KernelError(EINVAL, f"seek: whence {whence}, wanted 0 to 4")
        if target < 0:
            raise KernelError(EINVAL, f"seek to {target}: before the beginning")
        self.position = target
        return target

    @property
    def open_pending(self) -> bool:
        """Whether open(2) has to wait still: that of a FIFO does until its other end is opened."""
        return self.file.open_pending

    def alarm_seconds(self) -> float | None:
        """Return in how many seconds time alone ends a wait for this file, or None."""
        return self.file.alarm_seconds()

    def poll(self) -> int:
        """Return what can be done without waiting, as events of `vmguest.fs.poll`."""
        return self.file.poll()

    def ioctl(self, request: int, argument: int, memory: UserMemory) -> int:
        """Do a request; `argument` is an address in `memory` for most. Raises KernelError: ENOTTY, EFAULT, EINVAL."""
        if request == FIONBIO:
            (wanted,) = INT.unpack(memory.read(argument, INT.size))
            self.flags = self.flags | O_NONBLOCK if wanted else self.flags & ~O_NONBLOCK
            return 0
        if request == FIOASYNC and self._device is not None:
            memory.read(argument, INT.size)  # SIGIO is sent to nobody
            return 0
        if request == FIONREAD and self.dentry.inode.is_regular:
            memory.write(argument, INT.pack(self.file.size_bytes - self.position))
            return 0
        return self.file.ioctl(request, argument, memory)

    @property
    def _writes_to_mount(self) -> bool:
        return self._target is not None and self._device is None

    def _check_readable(self) -> None:
        if self.flags & O_ACCMODE == O_WRONLY:
            raise KernelError(EBADF, f"{os.fsdecode(self.dentry.path)}: not open for reading")

    def _check_seekable(self) -> None:
        if not self.file.seekable:
            raise KernelError(ESPIPE, f"{os.fsdecode(self.dentry.path)}: has no positions")

    def _before_change(self) -> None:
        """Have the file system allocate for who asks, and take set-id bits from a file that is not only root's."""
        writer = self.dentry.mount.file_system.writer
        if self._device is None and writer is not None:
            writer.act_for(self._vfs.user)
            drop_set_id(self.dentry, self._vfs)

    def _writable(self, errno: int = EBADF) -> WritableFileOperations:
        if self._target is None:
            raise KernelError(errno, f"{os.fsdecode(self.dentry.path)}: not open for writing")
        return self._target

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DirectoryFile(UnmappableFile):
    """An open directory: there are no bytes in it, only names, which `Vfs.children` yields."""

    size_bytes = 0

    def read(self, position: int, buffer: memoryview) -> int:
        """Refuse. Raises KernelError(EISDIR)."""
        raise KernelError(EISDIR, f"read of {len(buffer)} bytes at {position}: is a directory")

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Refuse, as Linux does for what has no pages. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"sendfile of {count} bytes at {position} to {actor}: is a directory")


def open_file(
    vfs: Vfs, path: bytes, flags: int = O_RDONLY, start: Dentry | None = None, mode: int = 0o666
) -> FileDescription:
    """Open a path, as open(2) does; a file that O_CREAT makes has `mode`, without the bits of the umask.

    Raises KernelError: ENOENT, ENOTDIR, EISDIR, EEXIST, ELOOP (a link, with O_NOFOLLOW), EROFS, EACCES (a device, where
    the mount says nodev), ENXIO (no such device), EINVAL.
    """
    if flags & O_CREAT and flags & O_DIRECTORY:  # Linux 6.4; before, that made a file and failed
        raise KernelError(EINVAL, f"{os.fsdecode(path)}: O_CREAT makes no directory")
    exclusive = flags & O_CREAT and flags & O_EXCL
    follow = not (flags & O_NOFOLLOW or exclusive)
    if not flags & O_CREAT:
        dentry = vfs.resolve(path, follow=follow, start=start)
    else:
        if path.endswith(b"/"):
            parent_of(vfs, path, start)
            raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
        found = existing(vfs, path, follow=follow, start=start)
        if found is not None and exclusive:
            raise KernelError(EEXIST, f"{os.fsdecode(path)}: is there")
        if found is None:  # who makes a file may open it, whatever its mode says
            return _opened(vfs, create(vfs, path, start, mode), flags)
        dentry = found
        if dentry.inode.is_dir:
            raise KernelError(EISDIR, f"{os.fsdecode(path)}: is a directory")
    if dentry.inode.is_symlink and not flags & O_DIRECTORY:
        raise KernelError(ELOOP, f"{os.fsdecode(path)}: is a symbolic link")
    return open_dentry(vfs, dentry, flags)


def open_dentry(vfs: Vfs, dentry: Dentry, flags: int = O_RDONLY) -> FileDescription:
    """Open what is at a place. Raises KernelError as `open_file` does, and EACCES where the user may not."""
    access = flags & O_ACCMODE
    mask = (MAY_READ if access != O_WRONLY else 0) | (MAY_WRITE if access != O_RDONLY or flags & O_TRUNC else 0)
    if dentry.inode.is_dir and mask & MAY_WRITE:
        raise KernelError(EISDIR, f"{os.fsdecode(dentry.path)}: is a directory")
    if not vfs.user.privileged:
        check(dentry, vfs.user, mask)
    return _opened(vfs, dentry, flags)


def _opened(vfs: Vfs, dentry: Dentry, flags: int) -> FileDescription:
    inode, kind = dentry.inode, stat.S_IFMT(dentry.inode.mode)
    writing = flags & O_ACCMODE != O_RDONLY
    changing = writing or flags & O_TRUNC  # Linux empties a file that is opened for reading, too
    if flags & O_DIRECTORY and kind != stat.S_IFDIR:
        raise KernelError(ENOTDIR, f"{os.fsdecode(dentry.path)}: not a directory")
    if kind == stat.S_IFREG:
        if not changing:
            vfs.notify(IN_OPEN, dentry)
            return FileDescription(vfs, dentry, dentry.mount.file_system.open(inode), flags)
        target = writer_of(dentry).open_writable(inode)
        vfs.notify(IN_OPEN, dentry)
        if flags & O_TRUNC:
            target.truncate(0)
            vfs.notify(IN_MODIFY, dentry)
        return FileDescription(vfs, dentry, target, flags, target=target if writing else None)
    if kind == stat.S_IFDIR:
        vfs.notify(IN_OPEN, dentry)
        return FileDescription(vfs, dentry, DirectoryFile(), flags)
    if kind == stat.S_IFIFO and vfs.fifos is not None:
        device = vfs.fifos.open(dentry, flags)
    elif kind not in {stat.S_IFBLK, stat.S_IFCHR}:
        found = stat.filemode(inode.mode)
        raise KernelError(ENXIO, f"{os.fsdecode(dentry.path)}: {found}, wanted a file, a directory or a device")
    elif "nodev" in dentry.mount.flags:
        raise KernelError(EACCES, f"{os.fsdecode(dentry.path)}: mounted with nodev")
    else:
        device = vfs.devices.open(inode)
    return FileDescription(vfs, dentry, device, flags, target=device if writing else None, device=device)

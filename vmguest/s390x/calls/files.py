"""System calls on descriptors: open, read, write and their kin."""

from collections.abc import Callable, Sequence
from errno import EAGAIN, EBADF, EINVAL, EOPNOTSUPP, EPIPE, ESPIPE

from dcss.errors import KernelError
from vmguest.fs.memfd import MFD_CLOEXEC, new_memfd
from vmguest.fs.mount import Dentry
from vmguest.fs.open import (
    O_ACCMODE,
    O_APPEND,
    O_CLOEXEC,
    O_NOCTTY,
    O_NONBLOCK,
    O_PATH,
    O_WRONLY,
    FileDescription,
    open_file,
)
from vmguest.fs.open_special import TMPFILE_BIT, open_path, open_unnamed
from vmguest.fs.pipe import PipeEnd, fifos_of, make_pipe
from vmguest.fs.poll import POLLERR, POLLHUP, POLLIN, POLLOUT
from vmguest.fs.unix_socket import SOCK_STREAM, UnixSocket
from vmguest.s390x.calls.file_size import check_new_size, writable_bytes
from vmguest.s390x.calls.locks import RECORD_LOCKS, record_lock
from vmguest.s390x.calls.owners import OWNER_COMMANDS, file_owner
from vmguest.s390x.calls.paths import AT_FDCWD, place_of
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.structures import INT, IOVEC
from vmguest.s390x.calls.times import deadline_in, is_over
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.signals import SIGPIPE, SignalInfo
from vmguest.s390x.system import System
from vmguest.tty.file import TerminalFile

CALLS = CallGroup()
MOST_BYTES = 0x7FFF_F000  # of one read or write: MAX_RW_COUNT
_MOST_BUFFERS = 1024
_NOWHERE = memoryview(bytearray())  # where a read of no bytes goes, which tells errors all the same
_CHUNK_BYTES = 1 << 20
_RWF_HIPRI, _RWF_DSYNC, _RWF_SYNC = 1, 2, 4
_SYNC_FILE_WAIT, _SYNC_FILE_WRITE = 5, 2  # before and behind; that writing begins is up to whoever waits
_WRITABLE_FLAGS = O_APPEND | O_NONBLOCK

F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = range(5)
_F_DUPFD_CLOEXEC, _F_SETPIPE_SZ, _F_GETPIPE_SZ = 1030, 1031, 1032
_OF_DESCRIPTORS = frozenset({F_DUPFD, _F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL})
O_LARGEFILE = 0o100000


def or_wait(
    error: KernelError,
    thread: Thread,
    file: FileDescription,
    events: int,
    worth_trying: Callable[[], bool] | None = None,
) -> Exception:
    """Return what to raise for an error of a file: EAGAIN is a wait, unless the file does not wait.

    It ends with one of some events, or when `worth_trying` says so, where that is given. Sockets may wait for a time
    only, and a signal's handler ends that wait (sock_intr_errno).
    """
    if error.errno != EAGAIN or file.flags & O_NONBLOCK:
        return error
    seconds = file.file.most_seconds(events) if isinstance(file.file, UnixSocket) else None
    deadline = deadline_in(thread, seconds)
    if is_over(deadline):
        return error

    def ready() -> bool:
        return bool(file.poll() & (events | POLLERR | POLLHUP)) or file.alarm_seconds() == 0

    return WaitError(worth_trying or ready, deadline, restart=deadline is None, alarm=file.alarm_seconds)


@CALLS.add("at", "path", "open", "mode")
def openat(system: System, thread: Thread, directory: int, path: int, flags: int, mode: int) -> int:
    """Open a file."""
    process = thread.process
    name = process.space.string(path)
    return open_named(system, thread, name, flags, place_of(process, directory, name), mode)


def open_named(system: System, thread: Thread, name: bytes, flags: int, start: Dentry, mode: int) -> int:
    """Open a path, and return its descriptor. Raises KernelError, WaitError."""
    process = thread.process
    opened = thread.opening or _open(system, name, flags & ~O_LARGEFILE, start, mode)
    thread.opening = None
    if opened.open_pending and not flags & O_NONBLOCK:  # a FIFO, until its other end is open
        thread.opening = opened
        raise WaitError(lambda: not opened.open_pending)
    return process.files.install(opened, close_on_exec=bool(flags & O_CLOEXEC))


def _open(system: System, name: bytes, flags: int, start: Dentry, mode: int) -> FileDescription:
    if flags & O_PATH:
        return open_path(system.vfs, name, flags, start)
    if flags & TMPFILE_BIT:
        return open_unnamed(system.vfs, name, flags, start, mode)
    opened = open_file(system.vfs, name, flags, start, mode)
    if isinstance(opened.file, TerminalFile) and not flags & O_NOCTTY and flags & O_ACCMODE != O_WRONLY:
        opened.file.terminal.job.opened()
    return opened


@CALLS.add("path", "uint")
def memfd_create(system: System, thread: Thread, name: int, flags: int) -> int:
    """Make a file in storage that has no place in the tree."""
    process = thread.process
    opened = new_memfd(system.vfs, system.kernel.machine.storage, process.space.string(name), flags)
    return process.files.install(opened, close_on_exec=bool(flags & MFD_CLOEXEC))


@CALLS.add("path", "open", "mode", name="open")
def open_(system: System, thread: Thread, path: int, flags: int, mode: int) -> int:
    """Open a file."""
    return openat(system, thread, AT_FDCWD, path, flags, mode) or 0


@CALLS.add("path", "mode")
def creat(system: System, thread: Thread, path: int, mode: int) -> int:
    """Make a file and open it for writing."""
    return openat(system, thread, AT_FDCWD, path, 0o1101, mode) or 0


@CALLS.add("fd")
def close(_system: System, thread: Thread, number: int) -> int:
    """Close a descriptor."""
    thread.process.files.close(number)
    return 0


@CALLS.add("uint", "uint", "uint")
def close_range(_system: System, thread: Thread, first: int, last: int, flags: int) -> int:
    """Close descriptors of a range, or mark them close-on-exec."""
    if first > last or flags & ~6:
        raise KernelError(EINVAL, f"close_range {first} to {last}, flags {flags}")
    files = thread.process.files
    for number in [each for each in files if first <= each <= last]:
        if flags & 4:  # CLOSE_RANGE_CLOEXEC
            files.set_close_on_exec(number, True)
        else:
            files.close(number)
    return 0


@CALLS.add("fd", "buffer", "size")
def read(_system: System, thread: Thread, number: int, buffer: int, size_bytes: int) -> int:
    """Read from a descriptor's position on."""
    return _read(thread, number, ((buffer, min(size_bytes, MOST_BYTES)),))


@CALLS.add("fd", "address", "int")
def readv(_system: System, thread: Thread, number: int, vector: int, count: int) -> int:
    """Read into several buffers."""
    return _read(thread, number, read_vector(thread, vector, count))


@CALLS.add("fd", "buffer", "size", "long")
def pread64(_system: System, thread: Thread, number: int, buffer: int, size_bytes: int, position: int) -> int:
    """Read from a position on."""
    return _read(thread, number, ((buffer, min(size_bytes, MOST_BYTES)),), position)


@CALLS.add("fd", "address", "int", "long", "long")
def preadv(_system: System, thread: Thread, number: int, vector: int, count: int, position: int, _high: int) -> int:
    """Read into several buffers from a position on."""
    return _read(thread, number, read_vector(thread, vector, count), position)


@CALLS.add("fd", "data", "size")
def write(system: System, thread: Thread, number: int, data: int, size_bytes: int) -> int:
    """Write at a descriptor's position."""
    return _write(system, thread, number, ((data, min(size_bytes, MOST_BYTES)),))


@CALLS.add("fd", "address", "int")
def writev(system: System, thread: Thread, number: int, vector: int, count: int) -> int:
    """Write several buffers."""
    return _write(system, thread, number, read_vector(thread, vector, count))


@CALLS.add("fd", "data", "size", "long")
def pwrite64(system: System, thread: Thread, number: int, data: int, size_bytes: int, position: int) -> int:
    """Write at a position."""
    return _write(system, thread, number, ((data, min(size_bytes, MOST_BYTES)),), position)


@CALLS.add("fd", "address", "int", "long", "long")
def pwritev(system: System, thread: Thread, number: int, vector: int, count: int, position: int, _high: int) -> int:
    """Write several buffers at a position."""
    return _write(system, thread, number, read_vector(thread, vector, count), position)


@CALLS.add("fd", "address", "int", "long", "long", "flags")
def preadv2(
    _system: System, thread: Thread, number: int, vector: int, count: int, position: int, _high: int, flags: int
) -> int:
    """Read into several buffers from a position on, or from the descriptor's own."""
    _check_flags(flags)
    return _read(thread, number, read_vector(thread, vector, count), None if position == -1 else position)


@CALLS.add("fd", "address", "int", "long", "long", "flags")
def pwritev2(
    system: System, thread: Thread, number: int, vector: int, count: int, position: int, _high: int, flags: int
) -> int:
    """Write several buffers at a position, or at the descriptor's own."""
    _check_flags(flags)
    return _write(system, thread, number, read_vector(thread, vector, count), None if position == -1 else position)


def _check_flags(flags: int) -> None:
    """Raise KernelError(EOPNOTSUPP) but for what is so anyway here: RWF_HIPRI, RWF_DSYNC and RWF_SYNC."""
    if flags & ~(_RWF_HIPRI | _RWF_DSYNC | _RWF_SYNC):
        raise KernelError(EOPNOTSUPP, f"a read or write with flags {flags:#x}")


def read_vector(thread: Thread, vector: int, count: int) -> list[tuple[int, int]]:
    """Return addresses and sizes of buffers. Raises KernelError: EINVAL, EFAULT."""
    if not 0 <= count <= _MOST_BUFFERS:
        raise KernelError(EINVAL, f"{count} buffers, wanted 0 to {_MOST_BUFFERS}")
    packed = thread.process.space.read(vector, count * IOVEC.size)
    parts = [(address, size_bytes) for address, size_bytes in IOVEC.iter_unpack(packed)]
    if any(size_bytes >= 1 << 63 for _, size_bytes in parts):
        raise KernelError(EINVAL, "a buffer of less than no bytes")
    return parts


def _read(thread: Thread, number: int, parts: Sequence[tuple[int, int]], position: int | None = None) -> int:
    space, file = thread.process.space, thread.process.files.get(number)
    if position is not None and position < 0:
        raise KernelError(EINVAL, f"read at {position}")
    done = 0
    try:
        if not any(size_bytes for _, size_bytes in parts):
            return file.read(_NOWHERE) if position is None else file.pread(_NOWHERE, position)
        for address, size_bytes in parts:
            for piece in space.buffers(address, size_bytes):
                count = file.read(piece) if position is None else file.pread(piece, position + done)
                done += count
                if count < len(piece):
                    return done
                if not file.file.seekable and not file.poll() & POLLIN:
                    return done
    except KernelError as error:
        if done:
            return done
        raise or_wait(error, thread, file, POLLIN) from error
    return done


def _write(
    system: System, thread: Thread, number: int, parts: Sequence[tuple[int, int]], position: int | None = None
) -> int:
    space, file = thread.process.space, thread.process.files.get(number)
    if position is not None and position < 0:
        raise KernelError(EINVAL, f"write at {position}")
    total = sum(size_bytes for _, size_bytes in parts)
    done = thread.written_bytes  # by this call, before it waited
    try:
        data = space.read(*parts[0]) if len(parts) == 1 else b"".join(space.read(*part) for part in parts)
        if not data:
            return file.write(b"") if position is None else file.pwrite(b"", position)
        total = writable_bytes(system, thread, file, position, total)
        while done < total:
            rest = memoryview(data)[done:total]
            done += file.write(rest) if position is None else file.pwrite(rest, position + done)
    except KernelError as error:
        if error.errno == EPIPE and not (isinstance(file.file, UnixSocket) and file.file.kind != SOCK_STREAM):
            send_sigpipe(system, thread)
        wait = or_wait(error, thread, file, POLLOUT)
        if isinstance(wait, WaitError) and not thread.deliverable:
            thread.written_bytes = done
            raise wait from error
        if done:
            thread.written_bytes = 0
            return done
        raise wait from error
    thread.written_bytes = 0
    return done


def send_sigpipe(system: System, thread: Thread) -> None:
    """Send SIGPIPE to a thread that writes what nobody reads any more."""
    process = thread.process
    system.delivery.send(process, SignalInfo.sent(SIGPIPE, process.pid, process.credentials.uid), thread)


@CALLS.add("fd", "long", "int")
def lseek(_system: System, thread: Thread, number: int, offset: int, whence: int) -> int:
    """Move a descriptor's position."""
    return thread.process.files.get(number).seek(offset, whence)


@CALLS.add("fd")
def dup(_system: System, thread: Thread, number: int) -> int:
    """Make one more descriptor of an open file."""
    return thread.process.files.dup(number)


@CALLS.add("fd", "fd")
def dup2(_system: System, thread: Thread, number: int, new: int) -> int:
    """Have another number mean an open file."""
    return thread.process.files.dup2(number, new)


@CALLS.add("fd", "fd", "open")
def dup3(_system: System, thread: Thread, number: int, new: int, flags: int) -> int:
    """Have another number mean an open file, perhaps close-on-exec."""
    return thread.process.files.dup3(number, new, flags)


@CALLS.add("fd", "int", "ulong")
def fcntl(  # noqa: PLR0911 - one for each command
    system: System, thread: Thread, number: int, command: int, argument: int
) -> int:
    """Change what a descriptor or its open file is."""
    process = thread.process
    files, file = process.files, process.files.get_any(number)
    argument_int = argument & 0xFFFF_FFFF
    if file.flags & O_PATH and command not in _OF_DESCRIPTORS:
        raise KernelError(EBADF, f"fcntl {command} of descriptor {number}: opened with O_PATH")
    if command in {F_DUPFD, _F_DUPFD_CLOEXEC}:
        return files.dup(number, argument_int, close_on_exec=command == _F_DUPFD_CLOEXEC)
    if command == F_GETFD:
        return int(files.closes_on_exec(number))
    if command == F_SETFD:
        files.set_close_on_exec(number, bool(argument & 1))
        return 0
    if command == F_GETFL:
        return file.flags | (O_LARGEFILE if file.file.seekable and not file.flags & O_PATH else 0)
    if command == F_SETFL:
        file.flags = file.flags & ~_WRITABLE_FLAGS | argument_int & _WRITABLE_FLAGS
        return 0
    if command in RECORD_LOCKS:
        return record_lock(system, thread, file, command, argument)
    if command in OWNER_COMMANDS:
        return file_owner(system, thread, file, command, argument)
    if command in {_F_GETPIPE_SZ, _F_SETPIPE_SZ}:
        if not isinstance(file.file, PipeEnd):
            raise KernelError(EBADF, f"descriptor {number}: no pipe")
        pipe = file.file.pipe
        if command == _F_GETPIPE_SZ:
            return pipe.capacity_bytes
        return fifos_of(system.vfs).resize(pipe, argument_int, process.credentials)
    raise KernelError(EINVAL, f"fcntl {command} of descriptor {number}")


@CALLS.add("fd", "uint", "ulong")
def ioctl(_system: System, thread: Thread, number: int, request: int, argument: int) -> int:
    """Do what only this kind of file can."""
    files = thread.process.files
    file = files.get(number)
    if request in {0x5451, 0x5450}:  # FIOCLEX, FIONCLEX
        files.set_close_on_exec(number, request == 0x5451)
        return 0
    try:
        return file.ioctl(request, argument, thread.process.space)
    except KernelError as error:  # EAGAIN: who is in the background is stopped before it changes a terminal
        raise or_wait(error, thread, file, 0) from error


@CALLS.add("address", "open")
def pipe2(system: System, thread: Thread, numbers: int, flags: int) -> int:
    """Make a pipe."""
    return install_pair(thread, make_pipe(system.vfs, flags & ~O_CLOEXEC), numbers, flags)


def install_pair(thread: Thread, opened: tuple[FileDescription, FileDescription], numbers: int, flags: int) -> int:
    """Give two open files descriptors, and store their numbers at a user address. Raises EMFILE, EFAULT."""
    files, close_on_exec = thread.process.files, bool(flags & O_CLOEXEC)
    first = files.install(opened[0], close_on_exec=close_on_exec)
    try:
        second = files.install(opened[1], close_on_exec=close_on_exec)
    except KernelError:
        files.close(first)
        raise
    thread.process.space.write(numbers, INT.pack(first) + INT.pack(second))
    return 0


@CALLS.add("address")
def pipe(system: System, thread: Thread, numbers: int) -> int:
    """Make a pipe."""
    return pipe2(system, thread, numbers, 0) or 0


@CALLS.add("fd", "address", "fd", "address", "size", "uint")
def copy_file_range(
    system: System, thread: Thread, source: int, source_offset: int, out: int, out_offset: int, count: int, flags: int
) -> int:
    """Copy between two files."""
    process = thread.process
    files, space = process.files, process.space
    from_file, to_file = files.get(source), files.get(out)
    if flags or not (from_file.dentry.inode.is_regular and to_file.dentry.inode.is_regular):
        raise KernelError(EINVAL, "copy_file_range: wanted two regular files, and no flags")
    position = from_file.position if not source_offset else int.from_bytes(space.read(source_offset, 8), "big")
    target = to_file.position if not out_offset else int.from_bytes(space.read(out_offset, 8), "big")
    count = writable_bytes(system, thread, to_file, target, count)
    buffer = memoryview(bytearray(min(count, _CHUNK_BYTES)))
    done = 0
    while done < count:
        taken = from_file.pread(buffer[: count - done], position + done)
        if not taken:
            break
        try:
            written = to_file.pwrite(buffer[:taken], target + done)
        except KernelError:
            if not done:
                raise
            break
        done += written
    for offset, file, end in ((source_offset, from_file, position + done), (out_offset, to_file, target + done)):
        if offset:
            space.write(offset, end.to_bytes(8, "big"))
        else:
            file.position = end
    return done


@CALLS.add("fd", "long")
def ftruncate(system: System, thread: Thread, number: int, size_bytes: int) -> int:
    """Cut an open file, or let it grow."""
    file = thread.process.files.get(number)
    check_new_size(system, thread, file.file.size_bytes, size_bytes)
    file.truncate(size_bytes)
    return 0


@CALLS.add("fd", "int", "long", "long")
def fallocate(system: System, thread: Thread, number: int, mode: int, offset: int, size_bytes: int) -> int:
    """Make a file as large as asked for; room is not set aside."""
    file = thread.process.files.get(number)
    if offset < 0 or size_bytes <= 0:
        raise KernelError(EINVAL, f"fallocate at {offset} of {size_bytes}")
    if mode:
        raise KernelError(EOPNOTSUPP, f"fallocate: mode {mode}")
    if file.file.size_bytes < offset + size_bytes:
        check_new_size(system, thread, file.file.size_bytes, offset + size_bytes)
        file.truncate(offset + size_bytes)
    return 0


def _sync(system: System, thread: Thread) -> None:
    """Have files know what was stored through shared mappings."""
    for process in system.table.processes.values():
        if process.ended is None:
            process.space.write_back_shared()
    system.scheduler.purge_if_stale(thread)


@CALLS.add("fd")
def fsync(system: System, thread: Thread, number: int) -> int:
    """Write what was changed of a file to its device."""
    file = thread.process.files.get(number)
    _sync(system, thread)
    file.fsync()
    return 0


@CALLS.add("fd")
def fdatasync(system: System, thread: Thread, number: int) -> int:
    """Write what was changed of a file to its device."""
    return fsync(system, thread, number) or 0


@CALLS.add("fd")
def syncfs(system: System, thread: Thread, number: int) -> int:
    """Write what was changed of a file system."""
    thread.process.files.get(number)
    return sync(system, thread) or 0


@CALLS.add()
def sync(system: System, thread: Thread) -> int:
    """Write what was changed of every file system."""
    _sync(system, thread)
    system.kernel.sync()
    return 0


@CALLS.add("fd", "long", "long", "int")
def fadvise64(_system: System, thread: Thread, number: int, _offset: int, _length: int, _advice: int) -> int:
    """Take advice on how a file will be read: there is nothing to do better."""
    if not thread.process.files.get(number).file.seekable:
        raise KernelError(ESPIPE, f"descriptor {number}: has no positions")
    return 0


@CALLS.add("fd", "long", "long", "uint")
def sync_file_range(system: System, thread: Thread, number: int, offset: int, count: int, flags: int) -> int:
    """Write what was changed of a file's data: of all of it, where some is to be waited for."""
    if flags & ~(_SYNC_FILE_WAIT | _SYNC_FILE_WRITE) or offset < 0 or count < 0 or offset + count >= 1 << 63:
        raise KernelError(EINVAL, f"sync_file_range of {count} bytes at {offset}, flags {flags:#x}")
    if not thread.process.files.get(number).file.seekable:
        raise KernelError(ESPIPE, f"descriptor {number}: has no positions")
    return (fdatasync(system, thread, number) or 0) if flags & _SYNC_FILE_WAIT else 0


@CALLS.add("fd", "long", "size")
def readahead(_system: System, thread: Thread, number: int, _offset: int, _count: int) -> int:
    """Read ahead: files in place need none."""
    thread.process.files.get(number)
    return 0

"""System calls that move bytes between open files without a buffer of the program's (fs/splice.c, fs/read_write.c)."""

from collections.abc import Callable
from errno import EAGAIN, EBADF, EINVAL, EPIPE, ESPIPE

from dcss.errors import KernelError
from vmguest.fs.open import O_ACCMODE, O_APPEND, O_NONBLOCK, O_RDONLY, O_WRONLY, FileDescription
from vmguest.fs.pipe import Pipe, PipeEnd
from vmguest.fs.poll import POLLIN, POLLOUT
from vmguest.s390x.calls.file_size import writable_bytes
from vmguest.s390x.calls.files import MOST_BYTES, or_wait, read_vector, send_sigpipe
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread, WaitError
from vmguest.s390x.space import UserSpace
from vmguest.s390x.system import System

CALLS = CallGroup()
_NONBLOCK = 2  # SPLICE_F_NONBLOCK
_ALL_FLAGS = 15  # with those for pages that are moved (MOVE, GIFT) and for sockets (MORE), which change nothing here
_CHUNK_BYTES = 1 << 20


class _Position:
    """Where a file is read or written next: at a position in the program's memory, or at the file's own.

    Raises KernelError: ESPIPE, EINVAL where the file has none; EFAULT.
    """

    def __init__(self, space: UserSpace, address: int, file: FileDescription) -> None:
        if address and _pipe_of(file) is not None:
            raise KernelError(ESPIPE, "a pipe has no positions")
        self._space, self._address, self._file = space, address, file
        self._value = int.from_bytes(space.read(address, 8), "big", signed=True) if address else None
        if self._value is not None and not file.file.seekable:
            raise KernelError(EINVAL, "a position of a file that has none")

    def check(self) -> None:
        """Raise KernelError(EINVAL) for a position before the beginning."""
        if self._value is not None and self._value < 0:
            raise KernelError(EINVAL, f"a position of {self._value}")

    def read(self, buffer: memoryview) -> int:
        """Read, and go on behind it."""
        if self._value is None:
            return self._file.read(buffer)
        return self._move(self._file.pread(buffer, self._value))

    def back(self, count: int) -> None:
        """Have bytes that were read be read again."""
        if self._value is None:
            self._file.position -= count
        else:
            self._move(-count)

    def writable_bytes(self, system: System, thread: Thread, wanted_bytes: int) -> int:
        """Return how much may be written there. Raises KernelError(EFBIG)."""
        return writable_bytes(system, thread, self._file, self._value, wanted_bytes)

    def write(self, data: memoryview) -> int:
        """Write, and go on behind it."""
        if self._value is None:
            return self._file.write(data)
        return self._move(self._file.pwrite(data, self._value))

    def _move(self, count: int) -> int:
        assert self._value is not None
        self._value += count
        self._space.write(self._address, self._value.to_bytes(8, "big"))
        return count


@CALLS.add("fd", "address", "fd", "address", "size", "uint")
def splice(
    system: System, thread: Thread, source: int, source_offset: int, out: int, out_offset: int, count: int, flags: int
) -> int:
    """Move bytes from a pipe, into a pipe, or from one into another."""
    if not count:
        return 0
    _check_flags(flags)
    from_file, to_file = _files(thread, source, out)
    from_pipe, to_pipe = _pipe_of(from_file), _pipe_of(to_file)
    space, count = thread.process.space, min(count, MOST_BYTES)
    start = _Position(space, source_offset, from_file)
    target = _Position(space, out_offset, to_file)
    _check_access(from_file, to_file)
    if from_pipe is not None and to_pipe is not None:
        if from_pipe is to_pipe:
            raise KernelError(EINVAL, "splice from a pipe into itself")
        waits = not (flags & _NONBLOCK or (from_file.flags | to_file.flags) & O_NONBLOCK)
        _await_content(from_pipe, waits=waits)
        _await_room(system, thread, to_pipe, waits=waits)
        piece = bytes(from_pipe.content[: min(count, to_pipe.room_bytes)])
        return _discard(from_pipe, to_file.write(piece)) if piece else 0
    if from_pipe is not None:
        if to_file.flags & O_APPEND:
            raise KernelError(EINVAL, f"splice to descriptor {out}: opened with O_APPEND")
        target.check()
        _await_content(from_pipe, waits=not (flags & _NONBLOCK or from_file.flags & O_NONBLOCK))
        return _empty(system, thread, from_pipe, to_file, target, count)
    if to_pipe is not None:
        start.check()
        waits = not flags & _NONBLOCK
        _await_room(system, thread, to_pipe, waits=waits and not to_file.flags & O_NONBLOCK)
        return _fill(thread, from_file, start, to_file, min(count, to_pipe.room_bytes), waits=waits)
    raise KernelError(EINVAL, f"splice of descriptors {source} and {out}: none is a pipe")


@CALLS.add("fd", "fd", "size", "uint")
def tee(system: System, thread: Thread, source: int, out: int, count: int, flags: int) -> int:
    """Copy what is in a pipe into another one."""
    _check_flags(flags)
    if not count:
        return 0
    from_file, to_file = _files(thread, source, out)
    _check_access(from_file, to_file)
    from_pipe, to_pipe = _pipe_of(from_file), _pipe_of(to_file)
    if from_pipe is None or to_pipe is None or from_pipe is to_pipe:
        raise KernelError(EINVAL, f"tee of descriptors {source} and {out}: wanted two pipes")
    waits = not (flags & _NONBLOCK or (from_file.flags | to_file.flags) & O_NONBLOCK)
    _await_content(from_pipe, waits=waits)
    _await_room(system, thread, to_pipe, waits=waits)
    piece = bytes(from_pipe.content[: min(count, to_pipe.room_bytes)])
    return to_file.write(piece) if piece else 0


@CALLS.add("fd", "address", "ulong", "uint")
def vmsplice(system: System, thread: Thread, number: int, vector: int, count: int, flags: int) -> int:
    """Move bytes from the program's memory into a pipe, or from a pipe into its memory."""
    _check_flags(flags)
    file, space = thread.process.files.get(number), thread.process.space
    parts = read_vector(thread, vector, count)
    pipe = _pipe_of(file)
    if pipe is None:
        raise KernelError(EBADF, f"vmsplice of descriptor {number}: no pipe")
    if not any(size_bytes for _, size_bytes in parts):
        return 0
    waits = not flags & _NONBLOCK
    done = 0
    if file.flags & O_ACCMODE != O_RDONLY:
        _await_room(system, thread, pipe, waits=waits)
        for address, size_bytes in parts:
            if piece := space.read(address, min(size_bytes, pipe.room_bytes)):
                done += file.write(piece)
        return done
    _await_content(pipe, waits=waits)
    for address, size_bytes in parts:
        piece = bytes(pipe.content[:size_bytes])
        space.write(address, piece)
        done += _discard(pipe, len(piece))
    return done


@CALLS.add("fd", "fd", "address", "size")
def sendfile(system: System, thread: Thread, out: int, source: int, offset: int, count: int) -> int:
    """Copy between two open files."""
    from_file, to_file = _files(thread, source, out)
    _check_access(from_file, to_file)
    position = _Position(thread.process.space, offset, from_file)
    position.check()
    to_pipe = _pipe_of(to_file)
    if to_pipe is not None and count:
        _await_room(system, thread, to_pipe, waits=not to_file.flags & O_NONBLOCK)
        return _fill(thread, from_file, position, to_file, min(count, to_pipe.room_bytes))
    if not from_file.file.seekable or to_file.flags & O_APPEND:
        raise KernelError(EINVAL, f"sendfile of {source} to {out}: wanted one with positions, and not O_APPEND")
    return _copy(system, thread, position, to_file, min(count, MOST_BYTES))


def _check_flags(flags: int) -> None:
    if flags & ~_ALL_FLAGS:
        raise KernelError(EINVAL, f"splice, tee or vmsplice with flags {flags:#x}")


def _files(thread: Thread, source: int, out: int) -> tuple[FileDescription, FileDescription]:
    files = thread.process.files
    return files.get(source), files.get(out)


def _check_access(from_file: FileDescription, to_file: FileDescription) -> None:
    if from_file.flags & O_ACCMODE == O_WRONLY or to_file.flags & O_ACCMODE == O_RDONLY:
        raise KernelError(EBADF, "wanted a descriptor for reading, and one for writing")
    if from_file.dentry.inode.is_dir:
        raise KernelError(EINVAL, "splice, tee or sendfile from a directory")


def _pipe_of(file: FileDescription) -> Pipe | None:
    return file.file.pipe if isinstance(file.file, PipeEnd) else None


def _await_content(pipe: Pipe, *, waits: bool) -> None:
    """Go on where a pipe has content, or nobody writes it. Raises KernelError(EAGAIN), or WaitError where it waits."""
    _await(lambda: bool(pipe.content or not pipe.writers), "the pipe is empty", waits=waits)


def _await_room(system: System, thread: Thread, pipe: Pipe, *, waits: bool) -> None:
    """Go on where a pipe has room. Raises KernelError: EPIPE after SIGPIPE, EAGAIN; or WaitError where it waits."""
    if not pipe.readers:
        send_sigpipe(system, thread)
        raise KernelError(EPIPE, "nobody reads the pipe")
    _await(lambda: pipe.room_bytes > 0 or not pipe.readers, "the pipe is full", waits=waits)


def _await(ready: Callable[[], bool], what: str, *, waits: bool) -> None:
    if ready():
        return
    if waits:
        raise WaitError(ready)
    raise KernelError(EAGAIN, what)


def _discard(pipe: Pipe, count: int) -> int:
    """Take bytes out of a pipe that have gone elsewhere; return how many."""
    if count:
        del pipe.content[:count]
        pipe.departures += 1
    return count


def _fill(
    thread: Thread,
    from_file: FileDescription,
    start: _Position,
    to_file: FileDescription,
    count: int,
    *,
    waits: bool = True,
) -> int:
    """Read from a file into a pipe, which has room for so much."""
    buffer = memoryview(bytearray(count))
    try:
        taken = start.read(buffer)
    except KernelError as error:
        raise (or_wait(error, thread, from_file, POLLIN) if waits else error) from error
    return to_file.write(buffer[:taken]) if taken else 0


def _empty(system: System, thread: Thread, pipe: Pipe, to_file: FileDescription, target: _Position, count: int) -> int:
    """Write what is in a pipe to a file."""
    done = 0
    try:
        while done < count and pipe.content:
            piece = bytes(pipe.content[: count - done])
            piece = piece[: target.writable_bytes(system, thread, len(piece))]
            done += _discard(pipe, target.write(memoryview(piece)))
    except KernelError as error:
        if not done:
            raise _refused(system, thread, to_file, error) from error
    return done


def _copy(system: System, thread: Thread, start: _Position, to_file: FileDescription, count: int) -> int:
    """Copy from a file that has positions, as far as the other takes it."""
    buffer = memoryview(bytearray(min(count, _CHUNK_BYTES)))
    done = unwritten = 0
    try:
        while done < count and (unwritten := start.read(buffer[: count - done])):
            room_bytes = writable_bytes(system, thread, to_file, None, unwritten)
            written = to_file.write(buffer[:room_bytes])
            start.back(unwritten - written)
            done, unwritten = done + written, 0
    except KernelError as error:
        start.back(unwritten)
        if not done:
            raise _refused(system, thread, to_file, error) from error
    return done


def _refused(system: System, thread: Thread, to_file: FileDescription, error: KernelError) -> Exception:
    """Return what to raise where a file takes nothing: SIGPIPE was sent where nobody reads it any more."""
    if error.errno == EPIPE:
        send_sigpipe(system, thread)
    return or_wait(error, thread, to_file, POLLOUT)

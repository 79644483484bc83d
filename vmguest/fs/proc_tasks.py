"""The directories of processes in /proc, with links that lead to their files themselves (fs/proc/base.c, fd.c)."""

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from errno import EINVAL, EIO, ENOENT
from itertools import chain
from typing import Final, NamedTuple, Protocol

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs import proc_task_text as text
from vmguest.fs.file import Actor, FileOperations, UnmappableFile
from vmguest.fs.libfs import SimpleInode, TextFile
from vmguest.fs.mount import Dentry, MagicLink
from vmguest.fs.namei import Vfs
from vmguest.fs.process_view import ProcessView
from vmguest.fs.procfs import ROOT, mounts_text

# An inode number is made of the ids of process and thread (0 in the process's own directory), a kind, and which one.
_PID_SHIFT, _TID_SHIFT, _KIND_SHIFT = 44, 24, 20
_ID_MASK, _KIND_MASK, _ENTRY_MASK = (1 << 20) - 1, 0xF, (1 << 20) - 1
_OWN, _FD, _FDINFO, _TASK = range(4)
_DIRECTORIES: Final = {b"fd": _FD, b"fdinfo": _FDINFO, b"task": _TASK}
_SELF, _THREAD_SELF = 1 << 62, (1 << 62) + 1
_MEMORY: Final = b"mem"
_SELVES: Final = {b"self": _SELF, b"thread-self": _THREAD_SELF}


class TaskSource(Protocol):
    """Where the processes are; `current_pid` and `current_tid` are those of who makes a system call."""

    processes: Mapping[int, ProcessView]
    current_pid: int | None
    current_tid: int | None

    @property
    def vfs(self) -> Vfs:
        """The guest's mounts."""
        ...


@dataclass(frozen=True, slots=True)
class MagicInode(SimpleInode, MagicLink):
    """A link to an open file or a directory."""

    leads_to: Callable[[], Dentry] | None = None

    def follow(self) -> Dentry:
        """Return what it leads to. Raises KernelError(ENOENT) where that is gone."""
        assert self.leads_to is not None
        return self.leads_to()


class MemoryFile(UnmappableFile):
    """The memory of a process by its addresses, to be read."""

    size_bytes = 0  # as Linux tells it

    def __init__(self, read_memory: Callable[[int, int], bytes]) -> None:
        self._read_memory = read_memory

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy from an address on, to where nothing is. Raises KernelError(EIO) where that is at once."""
        done = 0
        while done < len(buffer):
            wanted = min(len(buffer) - done, PAGE_SIZE - (position + done) % PAGE_SIZE)
            try:
                buffer[done : done + wanted] = self._read_memory(position + done, wanted)
            except KernelError as error:
                if not done:
                    raise KernelError(EIO, f"memory at {position:#x}: {error.strerror}") from error
                break
            done += wanted
        return done

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Refuse, as Linux does for what has no pages. Raises KernelError(EINVAL)."""
        raise KernelError(EINVAL, f"sendfile of {count} bytes at {position} to {actor}: memory of a process")


class _Place(NamedTuple):
    """What an inode number stands for."""

    process: ProcessView
    tid: int
    kind: int
    entry: int

    def number(self, kind: int, entry: int) -> int:
        """Return the inode number of something else of the same process and thread."""
        return self.process.pid << _PID_SHIFT | self.tid << _TID_SHIFT | kind << _KIND_SHIFT | entry


class ProcTasks:
    """The part of /proc that shows processes."""

    def __init__(self, source: TaskSource) -> None:
        self._source = source
        self._files: dict[bytes, Callable[[ProcessView], bytes]] = {
            b"auxv": lambda process: process.auxiliary_vector,
            b"cmdline": lambda process: b"".join(word + b"\0" for word in process.words),
            b"comm": lambda process: process.name + b"\n",
            b"environ": lambda process: b"".join(each + b"\0" for each in process.environment),
            b"limits": text.limits,
            b"maps": lambda process: b"".join(line + b"\n" for line in process.maps()),
            b"mountinfo": lambda _: text.mountinfo(source.vfs),
            b"mounts": lambda _: mounts_text(source.vfs).encode(errors="surrogateescape"),
            b"oom_score_adj": lambda _: b"0\n",
            b"stat": text.stat,
            b"statm": text.statm,
            b"status": text.status,
        }
        self._links: dict[bytes, Callable[[ProcessView], Dentry | None]] = {
            b"cwd": lambda process: process.directory,
            b"exe": lambda process: process.executable,
            b"root": lambda process: process.root or source.vfs.root(),
        }
        self._entries = list(chain(self._files, self._links, (_MEMORY,)))

    def names(self, directory: int) -> Iterator[tuple[bytes, int]]:
        """Yield names and inode numbers of a directory, none of those that are not its own."""
        if directory == ROOT:
            if self._source.current_pid is not None:
                yield from _SELVES.items()
            yield from ((b"%d" % pid, pid << _PID_SHIFT) for pid in sorted(self._source.processes))
            return
        place = self._place(directory)
        if place is None:
            return
        if place.kind == _OWN:
            yield from ((name, place.number(_OWN, 1 + index)) for index, name in enumerate(self._entries))
            for name, kind in _DIRECTORIES.items():
                if kind != _TASK or not place.tid:
                    yield name, place.number(kind, 0)
        elif place.kind == _TASK:
            for tid in place.process.threads:
                yield b"%d" % tid, directory & ~(_KIND_MASK << _KIND_SHIFT) | tid << _TID_SHIFT
        else:
            yield from ((b"%d" % number, place.number(place.kind, 1 + number)) for number in place.process.files)

    def inode(self, number: int) -> SimpleInode | None:
        """Return an inode, None for one that is not its own. Raises KernelError(ENOENT) where its process is gone."""
        if number in {_SELF, _THREAD_SELF}:
            return SimpleInode(number, stat.S_IFLNK | 0o777)
        place = self._place(number)
        if place is None:
            return None
        user = place.process.credentials
        if place.entry == 0:
            mode = stat.S_IFDIR | (0o500 if place.kind in {_FD, _FDINFO} else 0o555)
            return SimpleInode(number, mode, links_count=2, uid=user.uid, gid=user.gid)
        if place.kind == _FD or (place.kind == _OWN and self._name(place) in self._links):
            return MagicInode(
                number, stat.S_IFLNK | 0o777, uid=user.uid, gid=user.gid, leads_to=lambda: self._target(place)
            )
        mode = 0o400 if place.kind == _OWN and self._name(place) == _MEMORY else 0o444
        return SimpleInode(number, stat.S_IFREG | mode, uid=user.uid, gid=user.gid)

    def readlink(self, number: int) -> bytes:
        """Return where a link leads. Raises KernelError(ENOENT) where that is gone."""
        current = self._source.current_pid
        if number == _SELF:
            return b"%d" % (current or 0)
        if number == _THREAD_SELF:
            return b"%d/task/%d" % (current or 0, self._source.current_tid or current or 0)
        place = self._place(number)
        assert place is not None
        target = self._target(place)
        return target.path + (b" (deleted)" if target.inode.links_count == 0 else b"")

    def open(self, number: int) -> FileOperations:
        """Open a process's memory, or make a file's text. Raises KernelError(ENOENT) where what it tells of is gone."""
        place = self._place(number)
        assert place is not None
        if place.kind == _OWN and self._name(place) == _MEMORY:
            return MemoryFile(place.process.read_memory)
        return TextFile(self._text(place))

    def _text(self, place: _Place) -> bytes:
        if place.kind == _FDINFO:
            process, descriptor = place.process, place.entry - 1
            if descriptor not in set(process.files):
                raise _gone(place)
            marked = process.files.closes_on_exec(descriptor)
            return text.descriptor(process.files.get_any(descriptor), self._source.vfs, close_on_exec=marked)
        return self._files[self._name(place)](place.process)

    def _place(self, number: int) -> _Place | None:
        """Return what a number stands for. Raises KernelError(ENOENT) where its process is gone."""
        pid = number >> _PID_SHIFT
        if not pid or number >= _SELF:
            return None
        process = self._source.processes.get(pid)
        if process is None:
            raise KernelError(ENOENT, f"/proc/{pid}: the process is gone")
        tid, kind = number >> _TID_SHIFT & _ID_MASK, number >> _KIND_SHIFT & _KIND_MASK
        return _Place(process, tid, kind, number & _ENTRY_MASK)

    def _name(self, place: _Place) -> bytes:
        return self._entries[place.entry - 1]

    def _target(self, place: _Place) -> Dentry:
        if place.kind == _FD:
            descriptor = place.entry - 1
            if descriptor not in set(place.process.files):
                raise _gone(place)
            return place.process.files.get_any(descriptor).dentry
        target = self._links[self._name(place)](place.process)
        if target is None:
            raise _gone(place)
        return target


def _gone(place: _Place) -> KernelError:
    return KernelError(ENOENT, f"/proc/{place.process.pid}: what this entry shows is gone")

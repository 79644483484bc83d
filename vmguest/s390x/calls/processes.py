"""System calls on processes and threads."""

from errno import E2BIG, EAGAIN, ECHILD, EINVAL, ELOOP, ENOENT, ENOSYS, EPERM, ESRCH
from typing import NamedTuple

from dcss.errors import KernelError
from vmguest.s390x.calls.paths import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, place_of
from vmguest.s390x.calls.registry import DONE, CallGroup
from vmguest.s390x.calls.structures import INT, RLIMIT, ULONG, pack_rusage
from vmguest.s390x.life import CLONE_THREAD, CLONE_VFORK, wait_for_exec
from vmguest.s390x.pid_file import process_of
from vmguest.s390x.process import DEFAULT_NPROC, RLIMIT_NPROC, Process, Thread, WaitError
from vmguest.s390x.program import MOST_ARGUMENT_BYTES
from vmguest.s390x.signals import CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCHLD, SIGCONT, SignalInfo
from vmguest.s390x.space import STACK_BYTES, UserSpace
from vmguest.s390x.system import System

CALLS = CallGroup()
WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x1000000
_WNOTHREAD, _WALL, _WCLONE = 0x2000_0000, 0x4000_0000, -0x8000_0000
_WAITID_OPTIONS = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | _WNOTHREAD | _WALL | _WCLONE
_P_ALL, _P_PID, _P_PGID, _P_PIDFD = 0, 1, 2, 3
_CONTINUED_STATUS = 0xFFFF
_STOPPED_STATUS = 0x7F
_INFINITY = (1 << 64) - 1
_RLIMIT_STACK, _RLIMIT_NOFILE, _RLIMIT_CORE, _RLIMITS = 3, 7, 4, 16
_DEFAULT_LIMITS = {
    _RLIMIT_STACK: (STACK_BYTES, _INFINITY),
    _RLIMIT_CORE: (0, _INFINITY),
    _RLIMIT_NOFILE: (1024, 4096),
    RLIMIT_NPROC: (DEFAULT_NPROC, DEFAULT_NPROC),
    8: (65536, 65536),  # RLIMIT_MEMLOCK
    11: (1024, 1024),  # RLIMIT_SIGPENDING
    12: (819200, 819200),  # RLIMIT_MSGQUEUE
    13: (0, 0),  # RLIMIT_NICE
    14: (0, 0),  # RLIMIT_RTPRIO
}
_RUSAGE_CHILDREN = -1
_MOST_FILES = 1 << 20  # fs.nr_open
_MOST_WORDS = 0x10000
_MOST_ARGUMENT_BYTES = 131_072  # MAX_ARG_STRLEN: 32 pages, with the zero byte
_SIGINFO_BYTES = 128


@CALLS.add("ulong", "ulong", "address", "address", "address")
def clone(system: System, thread: Thread, stack: int, flags: int, parent_tid: int, child_tid: int, tls: int) -> int:
    """Make a process or a thread; s390 has the stack first."""
    if thread.vfork_child is not None:
        return _vforked(thread)
    tid = system.life.clone(thread, flags, stack, parent_tid, child_tid, tls)
    if flags & CLONE_VFORK and not flags & CLONE_THREAD:
        thread.vfork_child = system.table.processes[tid]
        return _vforked(thread)
    return tid


def _vforked(thread: Thread) -> int:
    """Return the child's id once it runs a program of its own, or has ended."""
    child = thread.vfork_child
    assert child is not None, "it was made"
    wait_for_exec(child)
    thread.vfork_child = None
    return child.pid


@CALLS.add()
def fork(system: System, thread: Thread) -> int:
    """Make a process."""
    return system.life.clone(thread, SIGCHLD, 0, 0, 0, 0)


@CALLS.add()
def vfork(system: System, thread: Thread) -> int:
    """Make a process that has the memory of this one, until it runs another program."""
    return clone(system, thread, 0, 0x4100 | SIGCHLD, 0, 0, 0) or 0


@CALLS.add("path", "address", "address")
def execve(system: System, thread: Thread, path: int, words: int, environment: int) -> int | None:
    """Run another program in this process."""
    name = thread.process.space.string(path)
    return _execute(system, thread, name, words, environment)


def _execute(system: System, thread: Thread, name: bytes, words: int, environment: int) -> int | None:
    system.life.execute(thread, name, *(_strings(thread, each) for each in (words, environment)))
    return DONE


@CALLS.add("at", "path", "address", "address", "flags")
def execveat(
    system: System, thread: Thread, directory: int, path: int, words: int, environment: int, flags: int
) -> int | None:
    """Run another program in this process: an open file, or one whose path begins at a directory."""
    process = thread.process
    name = process.space.string(path)
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise KernelError(EINVAL, f"execveat with flags {flags:#x}")
    if not name and not flags & AT_EMPTY_PATH:
        raise KernelError(ENOENT, "execveat without a path")
    if flags & AT_SYMLINK_NOFOLLOW and name:
        place = system.vfs.resolve(name, follow=False, start=place_of(process, directory, name))
        if place.inode.is_symlink:
            raise KernelError(ELOOP, "execveat of a symbolic link")
    if directory != AT_FDCWD and not name.startswith(b"/"):
        process.files.get_any(directory)
        name = b"/dev/fd/%d" % directory + (b"/" + name if name else b"")
    return _execute(system, thread, name, words, environment)


def _strings(thread: Thread, address: int) -> list[bytes]:
    """Read an array of pointers to strings. Raises FaultError, KernelError(E2BIG)."""
    space = thread.process.space
    found: list[bytes] = []
    total = 0
    while address and (pointer := ULONG.unpack(space.read(address, ULONG.size))[0]):
        found.append(_argument(space, pointer))
        total += len(found[-1]) + 1 + ULONG.size
        if total > MOST_ARGUMENT_BYTES or len(found) > _MOST_WORDS:
            raise KernelError(E2BIG, f"arguments of more than {MOST_ARGUMENT_BYTES} bytes")
        address += ULONG.size
    return found


def _argument(space: UserSpace, address: int) -> bytes:
    """Read one string. Raises FaultError, KernelError(E2BIG) where it is longer than MAX_ARG_STRLEN."""
    try:
        return space.string(address, _MOST_ARGUMENT_BYTES)
    except KernelError as error:
        if error.errno != EINVAL:
            raise
        raise KernelError(E2BIG, f"an argument of {_MOST_ARGUMENT_BYTES} bytes or more") from error


@CALLS.add("int")
def exit_(system: System, thread: Thread, code: int) -> int | None:
    """End this thread."""
    system.life.exit_thread(thread, code)
    return DONE


@CALLS.add("int")
def exit_group(system: System, thread: Thread, code: int) -> int | None:
    """End this process."""
    system.life.exit(thread.process, code)
    return DONE


# -- waiting for children ----------------------------------------------------------------------------------------------


class _Change(NamedTuple):
    """What a child's parent is told: its kind (CLD_*), wait4's status, and waitid's."""

    child: Process
    kind: int
    packed: int
    status: int


def _changes(chosen: list[Process], options: int) -> _Change | None:
    for child in chosen:
        if child.ended is not None and options & WEXITED:
            killed = child.ended.signal
            kind = CLD_KILLED if killed else CLD_EXITED
            return _Change(child, kind, child.ended.packed, killed or child.ended.code)
        if child.change == CLD_STOPPED and options & WUNTRACED:
            return _Change(child, CLD_STOPPED, child.stopped_by << 8 | _STOPPED_STATUS, child.stopped_by)
        if child.change == CLD_CONTINUED and options & WCONTINUED:
            return _Change(child, CLD_CONTINUED, _CONTINUED_STATUS, SIGCONT)

    return None


def _children(process: Process, kind: int, number: int) -> list[Process]:
    if kind == _P_PID:
        return [child for child in process.children if child.pid == number]
    if kind == _P_PGID:
        return [child for child in process.children if child.group == number]
    return list(process.children)


def _wait(system: System, thread: Thread, kind: int, number: int, options: int) -> _Change | None:
    """Return what a child has to tell, None with WNOHANG and nothing. Raises WaitError, KernelError(ECHILD)."""
    process = thread.process
    chosen = _children(process, kind, number)
    if not chosen:
        raise KernelError(ECHILD, "no such child")
    found = _changes(chosen, options)
    if found is None:
        if options & WNOHANG:
            return None
        raise WaitError(lambda: not (now := _children(process, kind, number)) or _changes(now, options) is not None)
    if not options & WNOWAIT:
        if found.child.ended is not None:
            system.table.reap(found.child)
        else:
            found.child.change = 0
    return found


@CALLS.add("pid", "address", "int", "address")
def wait4(system: System, thread: Thread, pid: int, status: int, options: int, usage: int) -> int:
    """Wait for a child to end, stop or go on."""
    process = thread.process
    if pid > 0:
        kind, number = _P_PID, pid
    elif pid == -1:
        kind, number = _P_ALL, 0
    else:
        kind, number = _P_PGID, -pid or process.group
    change = _wait(system, thread, kind, number, options & ~WNOWAIT | WEXITED)
    if change is None:
        return 0
    if status:
        process.space.write(status, INT.pack(change.packed))
    if usage:
        process.space.write(usage, pack_rusage(change.child.user_seconds + change.child.children_seconds, 0))
    return change.child.pid


@CALLS.add("int", "pid", "address", "int", "address")
def waitid(system: System, thread: Thread, kind: int, number: int, info: int, options: int, _usage: int) -> int:
    """Wait for a child to end, stop or go on, and tell more of it."""
    process = thread.process
    wanted = options & (WEXITED | WUNTRACED | WCONTINUED)
    if kind not in {_P_ALL, _P_PID, _P_PGID, _P_PIDFD} or not wanted or options & ~_WAITID_OPTIONS:
        raise KernelError(EINVAL, f"waitid of kind {kind}, options {options:#x}")
    if kind == _P_PIDFD:
        meant, blocks = process_of(thread, number)
        change = _wait(system, thread, _P_PID, meant.pid, options if blocks else options | WNOHANG)
        if change is None and not blocks and not options & WNOHANG:
            raise KernelError(EAGAIN, f"process {meant.pid}: has not changed")
        return _tell_change(process, info, change)
    change = _wait(system, thread, kind, number or process.group if kind == _P_PGID else number, options)
    return _tell_change(process, info, change)


def _tell_change(process: Process, info: int, change: _Change | None) -> int:
    if info:
        packed = bytes(_SIGINFO_BYTES)
        if change is not None:
            uid = change.child.credentials.uid
            packed = SignalInfo.child(change.kind, change.child.pid, uid, change.status).pack()
        process.space.write(info, packed)
    return 0


# -- ids ---------------------------------------------------------------------------------------------------------------


@CALLS.add()
def getpid(_system: System, thread: Thread) -> int:
    """Tell the process's id."""
    return thread.process.pid


@CALLS.add()
def gettid(_system: System, thread: Thread) -> int:
    """Tell the thread's id."""
    return thread.tid


@CALLS.add()
def getppid(_system: System, thread: Thread) -> int:
    """Tell the parent's id; 1 where it has ended."""
    parent = thread.process.parent
    return 1 if parent is None else parent.pid


def _process(system: System, thread: Thread, pid: int) -> Process:
    if pid == 0:
        return thread.process
    found = system.table.processes.get(pid)
    if found is None:
        raise KernelError(ESRCH, f"process {pid}: there is none")
    return found


@CALLS.add("pid")
def getpgid(system: System, thread: Thread, pid: int) -> int:
    """Tell a process's group."""
    return _process(system, thread, pid).group


@CALLS.add()
def getpgrp(_system: System, thread: Thread) -> int:
    """Tell the process's group."""
    return thread.process.group


@CALLS.add("pid")
def getsid(system: System, thread: Thread, pid: int) -> int:
    """Tell a process's session."""
    return _process(system, thread, pid).session


@CALLS.add("pid", "pid")
def setpgid(system: System, thread: Thread, pid: int, group: int) -> int:
    """Put a process into a group."""
    process = _process(system, thread, pid)
    group = group or process.pid
    if group < 0:
        raise KernelError(EINVAL, f"group {group}")
    if process is not thread.process and process.parent is not thread.process:
        raise KernelError(ESRCH, f"process {process.pid}: no child")
    if process.session != thread.process.session or process.session == process.pid:
        raise KernelError(EPERM, f"process {process.pid}: of another session, or leads one")
    others = [each for each in system.table.group(group) if each.session == process.session]
    if group != process.pid and not others:
        raise KernelError(EPERM, f"group {group}: none of this session")
    process.group = group
    return 0


@CALLS.add()
def setsid(system: System, thread: Thread) -> int:
    """Begin a session."""
    process = thread.process
    if any(True for _ in system.table.group(process.pid)):
        raise KernelError(EPERM, f"process {process.pid}: leads a group")
    process.group = process.session = process.pid
    process.terminal = None
    return process.pid


@CALLS.add("address")
def set_tid_address(_system: System, thread: Thread, address: int) -> int:
    """Say which word becomes 0 when this thread ends."""
    thread.clear_tid = address
    return thread.tid


@CALLS.add("address", "size")
def set_robust_list(_system: System, thread: Thread, address: int, size_bytes: int) -> int:
    """Say which locks this thread holds."""
    if size_bytes != 24:
        raise KernelError(EINVAL, f"robust list of {size_bytes} bytes")
    thread.robust_list = address, size_bytes
    return 0


@CALLS.add("pid", "address", "address")
def get_robust_list(system: System, thread: Thread, tid: int, address: int, size: int) -> int:
    """Tell which locks a thread holds."""
    found = system.table.threads.get(tid) if tid else thread
    if found is None:
        raise KernelError(ESRCH, f"thread {tid}: there is none")
    thread.process.space.write(address, ULONG.pack(found.robust_list[0]))
    thread.process.space.write(size, ULONG.pack(found.robust_list[1]))
    return 0


# -- limits and usage --------------------------------------------------------------------------------------------------


def _limit(process: Process, what: int) -> tuple[int, int]:
    if not 0 <= what < _RLIMITS:
        raise KernelError(EINVAL, f"limit {what}")
    if what == _RLIMIT_NOFILE and what not in process.limits:
        return process.files.limit, 4096
    return process.limits.get(what) or _DEFAULT_LIMITS.get(what, (_INFINITY, _INFINITY))


@CALLS.add("pid", "uint", "address", "address")
def prlimit64(system: System, thread: Thread, pid: int, what: int, new: int, old: int) -> int:
    """Tell and set a limit."""
    process, space = _process(system, thread, pid), thread.process.space
    before = _limit(process, what)
    if new:
        soft, hard = RLIMIT.unpack(space.read(new, RLIMIT.size))
        if soft > hard:
            raise KernelError(EINVAL, f"limit {what}: {soft} above {hard}")
        if what == _RLIMIT_NOFILE and hard > _MOST_FILES:
            raise KernelError(EPERM, f"{hard} open files, wanted at most {_MOST_FILES}")
        if hard > before[1] and not process.credentials.privileged:
            raise KernelError(EPERM, f"limit {what}: {hard} above {before[1]}")
        process.limits[what] = soft, hard
        if what == _RLIMIT_NOFILE:
            process.files.limit = soft
    if old:
        space.write(old, RLIMIT.pack(*before))
    return 0


@CALLS.add("uint", "address")
def getrlimit(system: System, thread: Thread, what: int, old: int) -> int:
    """Tell a limit."""
    return prlimit64(system, thread, 0, what, 0, old) or 0


@CALLS.add("uint", "address")
def setrlimit(system: System, thread: Thread, what: int, new: int) -> int:
    """Set a limit."""
    return prlimit64(system, thread, 0, what, new, 0) or 0


@CALLS.add("int", "address")
def getrusage(_system: System, thread: Thread, who: int, buffer: int) -> int:
    """Tell what was used."""
    process = thread.process
    seconds = process.children_seconds if who == _RUSAGE_CHILDREN else process.user_seconds
    process.space.write(buffer, pack_rusage(seconds, 0))
    return 0


@CALLS.add("int", "int")
def getpriority(_system: System, thread: Thread, _which: int, _who: int) -> int:
    """Tell the priority: 20 and above is lower than usual."""
    return 20 - thread.process.nice


@CALLS.add("int", "int", "int")
def setpriority(_system: System, thread: Thread, _which: int, _who: int, nice: int) -> int:
    """Set the priority, which changes nothing else: all take turns."""
    thread.process.nice = max(-20, min(19, nice))
    return 0


@CALLS.add("ulong")
def personality(_system: System, _thread: Thread, _wanted: int) -> int:
    """Tell the execution domain: Linux."""
    return 0


@CALLS.add("address", "uint", "int", "uint")
def rseq(_system: System, _thread: Thread, *_: int) -> int:
    """Refuse: programs go on without restartable sequences."""
    return -ENOSYS


@CALLS.add("address", "size")
def clone3(_system: System, _thread: Thread, *_: int) -> int:
    """Refuse: programs use clone."""
    return -ENOSYS

"""How processes and threads begin and end: clone, execve, exit (kernel/fork.c, kernel/exit.c, fs/exec.c)."""

import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from errno import EINVAL

from unicorn.unicorn_py3.unicorn import UcContext

from dcss.errors import KernelError
from vmguest.fs.descriptors import Descriptors
from vmguest.fs.mount import Dentry
from vmguest.identity import ROOT
from vmguest.s390x.cpu import Cpu
from vmguest.s390x.delivery import Delivery
from vmguest.s390x.futexes import Futexes
from vmguest.s390x.process import Directory, ExitStatus, Process, Thread, WaitError
from vmguest.s390x.process_table import ProcessTable
from vmguest.s390x.program import LoadedProgram, ProgramLoader
from vmguest.s390x.robust_list import give_up_locks
from vmguest.s390x.scheduler import Scheduler
from vmguest.s390x.signals import (
    CLD_EXITED,
    CLD_KILLED,
    SA_NOCLDWAIT,
    SI_USER,
    SIG_IGN,
    SIGCHLD,
    Action,
    SignalInfo,
)
from vmguest.s390x.space import FaultError, UserSpace

# <linux/sched.h>
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_VFORK, CLONE_PARENT = 0x100, 0x200, 0x400, 0x800, 0x4000, 0x8000
CLONE_THREAD, CLONE_SETTLS, CLONE_PARENT_SETTID = 0x10000, 0x80000, 0x100000
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x200000, 0x1000000
# CLONE_PIDFD, CLONE_NEWNS, and the namespaces of control groups, names, System V, users, processes and networks
_NOT_HERE = 0x1000 | 0x20000 | 0x7E000000
_CALL_BYTES = 2
_TID = struct.Struct(">i")


class Life:
    """Begins and ends the processes of one guest."""

    def __init__(
        self,
        cpu: Cpu,
        table: ProcessTable,
        loader: ProgramLoader,
        futexes: Futexes,
        on_crash: Callable[[Thread, int], None],
    ) -> None:
        self._cpu = cpu
        self._table = table
        self._loader = loader
        self._futexes = futexes
        self._on_crash = on_crash
        self.delivery = Delivery(cpu, table, futexes, self.kill)
        self.scheduler: Scheduler  # set by whoever makes both

    # -- beginning -------------------------------------------------------------------------------------------------

    def start(
        self,
        path: bytes,
        words: Sequence[bytes],
        environment: Sequence[bytes],
        files: Descriptors,
        directory: Dentry,
    ) -> Process:
        """Start a process that no other one has made. Raises KernelError as execve(2) does."""
        program = self._loader.load(path, words, environment, directory, ROOT)
        pid = self._table.new_id()
        process = Process(pid, None, program.space, files, Directory(directory), program.executable, group=pid)
        process.session = pid
        self._table.add(process)
        thread = Thread(pid, process, self._context_of(program))
        self._table.add_thread(thread)
        _take_program(thread, program)
        self.scheduler.add(thread)
        return process

    def clone(  # noqa: PLR0917 - as clone(2) has them
        self, thread: Thread, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int
    ) -> int:
        """Make a child process or a thread of the running one; return its id.

        Raises KernelError: EINVAL, EAGAIN, ENOMEM.
        """
        _check_flags(flags)
        process = thread.process
        self._table.check_limits(process)
        tid = self._table.new_id()
        child_process = process if flags & CLONE_THREAD else self._fork(process, tid, flags)
        if flags & CLONE_PARENT_SETTID:
            _tell(process.space, parent_tid, tid)
        context = self._cpu.child_context(
            child_process.space.root,
            self._cpu.address + _CALL_BYTES,
            stack or None,
            tls if flags & CLONE_SETTLS else None,
        )
        child = Thread(tid, child_process, context, thread.blocked)
        if not flags & CLONE_VM or flags & CLONE_VFORK:
            child.stack = thread.stack
        child.name, child.io_priority = thread.name, thread.io_priority
        child.scheduling = type(thread.scheduling)() if thread.scheduling.resets else thread.scheduling
        self._table.add_thread(child)
        if flags & CLONE_CHILD_SETTID:
            _tell(child_process.space, child_tid, tid)
        if flags & CLONE_CHILD_CLEARTID:
            child.clear_tid = child_tid
        self.scheduler.add(child)
        return tid

    def _fork(self, process: Process, pid: int, flags: int) -> Process:
        space = process.space.hold() if flags & CLONE_VM else process.space.fork()
        files = process.files.fork()
        child = Process(
            pid,
            process.parent if flags & CLONE_PARENT else process,
            space,
            files,
            process.directory.fork(),
            None if process.executable is None else process.executable.hold(),
            process.words,
            process.environment,
            process.auxiliary_vector,
            process.group,
            process.session,
            process.terminal,
            process.identity,
            process.credentials,
            dict(process.actions),
            limits=dict(process.limits),
            name=process.name,
            nice=process.nice,
            trace=process.trace,
        )
        self._table.add(child)
        if process.debugger is not None and space is not process.space:
            process.debugger.forked(child)
        return child

    # -- another program -------------------------------------------------------------------------------------------

    def execute(self, thread: Thread, path: bytes, words: Sequence[bytes], environment: Sequence[bytes]) -> None:
        """Replace the running program (execve). Raises KernelError, and nothing has changed then."""
        process = thread.process
        program = self._loader.load(path, words, environment, process.directory.place, process.identity)
        for other in [each for each in process.threads if each is not thread]:
            self._remove_thread(other)
        if thread.tid != process.pid:
            del self._table.threads[thread.tid]
            thread.tid = process.pid
            self._table.threads[thread.tid] = thread
        give_up_locks(thread, self._futexes)
        old_space, old_executable = process.space, process.executable
        process.space, process.executable = program.space, program.executable
        process.exec_done = True
        if process.debugger is not None:
            process.debugger.program_changed()
        old_space.release()
        if old_executable is not None:
            old_executable.release()
        process.files.close_marked()
        for number in [each for each in process.timers if each >= 0]:  # those of timer_create; interval timers stay
            process.timers.pop(number).timer.set(0, 0)
        process.actions = {
            number: Action(SIG_IGN) for number, action in process.actions.items() if action.handler == SIG_IGN
        }
        thread.stack, thread.clear_tid, thread.robust_list = type(thread.stack)(), 0, (0, 0)
        thread.context = self._context_of(program)
        _take_program(thread, program)
        self.scheduler.unload()

    def _context_of(self, program: LoadedProgram) -> UcContext:
        return self._cpu.new_context(program.space.root, program.address, program.stack_pointer)

    # -- ending ----------------------------------------------------------------------------------------------------

    def exit_thread(self, thread: Thread, code: int) -> None:
        """End one thread; with the last one its process ends."""
        process = thread.process
        if len(process.threads) > 1:
            self._remove_thread(thread)
        else:
            self._end(process, ExitStatus(code=code & 0xFF))

    def exit(self, process: Process, code: int) -> None:
        """End a process and its threads (exit_group)."""
        self._end(process, ExitStatus(code=code & 0xFF))

    def kill(self, process: Process, number: int) -> None:
        """End a process by a signal."""
        if process.ended is None and process.threads:
            self._on_crash(process.threads[0], number)
        self._end(process, ExitStatus(signal=number))

    def _end(self, process: Process, status: ExitStatus) -> None:
        if process.ended is not None:
            return
        process.ended, process.exec_done, process.stopped_by = status, True, 0
        with ExitStack() as last:  # whatever of this fails, the rest is done
            last.callback(self._tell_of_end, process, status)
            last.callback(self._leave_family, process)
            if process.executable is not None:
                last.callback(process.executable.release)
            last.callback(process.space.release)
            last.callback(process.directory.close)
            last.callback(process.files.close_all)
            for each in reversed(process.at_end):
                last.callback(each)
            for thread in reversed(process.threads):
                last.callback(self._remove_thread, thread)

    def _leave_family(self, process: Process) -> None:
        """Tell others than the parent that a process has ended: its children, its session, its debugger."""
        for child in tuple(process.children):
            child.parent = None
            if child.death_signal and child.ended is None:
                self.delivery.send(child, SignalInfo(child.death_signal, SI_USER))
            if child.ended is not None:
                del self._table.processes[child.pid]
        process.children.clear()
        if process.session == process.pid and process.terminal is not None:
            self._leave_terminal(process)
        if process.debugger is not None:
            process.debugger.ended()

    def _tell_of_end(self, process: Process, status: ExitStatus) -> None:
        parent = process.parent
        if parent is None:
            self._table.reap(process)
            return
        action = parent.action(SIGCHLD)
        code = CLD_KILLED if status.signal else CLD_EXITED
        self.delivery.tell_parent_of_end(process, code, status.signal or status.code)
        if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
            self._table.reap(process)

    def _leave_terminal(self, process: Process) -> None:
        """A session's leader has ended: who is in the foreground of its terminal hears of it."""
        terminal = process.terminal
        if terminal is not None and terminal.job.session_id == process.session:
            terminal.job.leader_ended()

    def _remove_thread(self, thread: Thread) -> None:
        thread.ended = True
        try:
            thread.leave_call()
            give_up_locks(thread, self._futexes)
            space = thread.process.space
            if thread.clear_tid:
                self._clear_tid(thread, space)
        finally:
            self._futexes.forget(thread)
            self._table.remove_thread(thread)
            self.scheduler.forget(thread)

    def _clear_tid(self, thread: Thread, space: UserSpace) -> None:
        """Tell those who wait for the thread's end."""
        with suppress(FaultError):  # the program may have unmapped it
            space.write(thread.clear_tid, bytes(_TID.size))
            self._futexes.wake(self._futexes.key(space, thread.clear_tid, private=True), 1)
            self._futexes.wake(self._futexes.key(space, thread.clear_tid, private=False), 1)


def _check_flags(flags: int) -> None:
    """Raise KernelError(EINVAL) for what copy_process refuses, and for namespaces, of which a guest has one each."""
    needed = {CLONE_THREAD: CLONE_SIGHAND, CLONE_SIGHAND: CLONE_VM}
    if any(flags & each and not flags & other for each, other in needed.items()) or flags & _NOT_HERE:
        raise KernelError(EINVAL, f"clone with flags {flags:#x}")


def _tell(space: UserSpace, address: int, tid: int) -> None:
    """Store an id where a program wants it; as in Linux, an address that it cannot store at is no error."""
    with suppress(FaultError):
        space.write(address, _TID.pack(tid))


def wait_for_exec(child: Process) -> None:
    """Have a parent wait until its child has begun another program, or ended (vfork). Raises WaitError."""
    if not child.exec_done:
        raise WaitError(lambda: child.exec_done)


def _take_program(thread: Thread, program: LoadedProgram) -> None:
    """Have a process be known by the program that it begins."""
    process = thread.process
    process.take_identity(program.identity)
    process.dumpable = not program.identity.is_raised
    if program.identity.is_raised:
        process.death_signal = 0
    process.words, process.environment = program.words, program.environment
    process.auxiliary_vector = program.auxiliary_vector
    process.set_name(program.executable.name)
    thread.name = process.name

"""System calls on open files that stand for processes."""

from errno import EINVAL, EPERM, ESRCH

from dcss.errors import KernelError
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.calls.signal_calls import check_number, may_signal, read_info
from vmguest.s390x.pid_file import new_pid_file, process_of
from vmguest.s390x.process import Process, Thread
from vmguest.s390x.signals import SignalInfo
from vmguest.s390x.system import System

CALLS = CallGroup()


@CALLS.add("pid", "flags")
def pidfd_open(system: System, thread: Thread, pid: int, flags: int) -> int:
    """Open a file that stands for a process; another program does not get it."""
    found = system.table.processes.get(pid)
    if pid <= 0 or (found is None and pid in system.table.threads):
        raise KernelError(EINVAL, f"pidfd_open of {pid}: no process")
    if found is None:
        raise KernelError(ESRCH, f"process {pid}: there is none")
    return thread.process.files.install(new_pid_file(system.vfs, found, flags), close_on_exec=True)


def _signalled(system: System, thread: Thread, number: int) -> Process:
    """Return the process of a descriptor, which may be its directory in /proc (tgid_pidfd_to_pid). Raises EBADF."""
    place = thread.process.files.get(number).dentry
    if place.mount.file_system.type_name == "proc" and place.inode.is_dir and place.name.isdigit():
        found = system.table.processes.get(int(place.name))
        if found is not None and place.parent is not None and place.parent.is_mount_root:
            return found
    return process_of(thread, number)[0]


@CALLS.add("fd", "signal", "address", "uint")
def pidfd_send_signal(system: System, thread: Thread, number: int, signal: int, info: int, flags: int) -> int:
    """Send a signal to the process of a file."""
    if flags:
        raise KernelError(EINVAL, f"pidfd_send_signal with flags {flags:#x}")
    found = _signalled(system, thread, number)
    check_number(signal)
    me = thread.process
    sent = read_info(thread, found, signal, info) if info else SignalInfo.sent(signal, me.pid, me.credentials.uid)
    if found.pid not in system.table.processes:
        raise KernelError(ESRCH, f"process {found.pid}: has ended")
    if not may_signal(thread, found, signal):
        raise KernelError(EPERM, f"process {found.pid}: not yours")
    if signal:
        system.delivery.send(found, sent)
    return 0

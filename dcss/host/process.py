"""What /proc tells about other processes, and how processes end, in words."""

from pathlib import Path


def is_stopped(pid: int) -> bool:
    """Return True if a process was stopped by a signal (SIGSTOP, Ctrl-Z) or a debugger."""
    try:
        # The name in parentheses may hold anything, parentheses too.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state in {b"T", b"t"}


def how_ended(status: int) -> str:
    """Return `ended by signal 9` or `ended with status 1`; `status` is as os.waitstatus_to_exitcode gives it."""
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"

"""The CPU time of processes, in the scheduler's nanoseconds: /proc/PID/stat counts in ticks of ten milliseconds."""

from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its threads. Raises OSError where the kernel does not show it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

"""How much memory this machine can still give."""

from pathlib import Path


def available_memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return MemAvailable plus SwapFree, as the kernel estimates them."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    return sum(int(fields[name].split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))

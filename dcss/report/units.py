"""Format numbers for people. The only place where bytes get a unit."""

UNKNOWN = "n/a"  # never zero: what could not be seen
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def fmt_bytes(size_bytes: int) -> str:
    """Return ``99.8 MiB``: IEC units, one digit after the point from KiB on, and rounded, never cut."""
    size = float(size_bytes)
    unit = 0
    # 1023.95 would print as 1024.0: the next unit reads better.
    while abs(size) >= 1023.95 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size_bytes} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def fmt_count(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 guest``, ``8 guests``, ``25,347 pages``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def fmt_seconds(seconds: float) -> str:
    """Return ``0.42 s``, ``12.3 s`` or ``2 min 05 s``."""
    if seconds >= 59.95:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"

"""How inodes and sizes are written: modes, owners, times, human sizes."""

import stat
from time import gmtime, strftime, time

from vmguest.fs.filesystem import VfsInode

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HALF_A_YEAR_SECONDS = 31_556_952 // 2
_UNITS = ("", "K", "M", "G", "T", "P")
_TYPES = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISBLK, "block special file"),
    (stat.S_ISCHR, "character special file"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
)


def owner(number: int) -> str:
    """Return the name of a user or group, of which a guest knows one."""
    return "root" if number == 0 else str(number)


def type_name(inode: VfsInode) -> str:
    """Return what stat(1) calls a file of this type."""
    for is_type, name in _TYPES:
        if is_type(inode.mode):
            return name
    return "regular file" if inode.size_bytes else "regular empty file"


def list_time(seconds: int) -> str:
    """Return a time as ls -l shows it: the year instead of the hour where it is long ago or to come. UTC."""
    then = gmtime(seconds)
    recent = 0 <= time() - seconds < _HALF_A_YEAR_SECONDS
    tail = f"{then.tm_hour:02}:{then.tm_min:02}" if recent else f" {then.tm_year}"
    return f"{_MONTHS[then.tm_mon - 1]} {then.tm_mday:2} {tail}"


def full_time(seconds: int) -> str:
    """Return a time as stat shows it. UTC; ext2 keeps whole seconds."""
    return strftime("%Y-%m-%d %H:%M:%S.000000000 +0000", gmtime(seconds))


def human(size_bytes: int, suffix: str = "") -> str:
    """Return a size in the unit that leaves one to four digits, rounded up as df -h does: 8.0M, 513K."""
    power, unit_bytes = 0, 1
    while size_bytes > 1023 * unit_bytes and power + 1 < len(_UNITS):
        power, unit_bytes = power + 1, unit_bytes << 10
    if power == 0:
        return str(size_bytes)
    tenths = -(-size_bytes * 10 // unit_bytes)
    number = f"{tenths // 10}.{tenths % 10}" if tenths < 100 else str(-(-size_bytes // unit_bytes))
    return f"{number}{_UNITS[power]}{suffix}"

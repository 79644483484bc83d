"""The long listing of an image, as `ls -l` has it."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence

from dcss.ext2.inode import Inode
from dcss.image.listing import ListedFile

NameForm = Callable[[str], str]


def plain_name(name: str) -> str:
    """Return a name as it is, for output that no terminal reads."""
    return name


def long_lines(entries: Sequence[ListedFile], form: NameForm = plain_name) -> Iterator[str]:
    """Yield the lines of `ls -ln --time-style=long-iso`: the owners are the image's numbers, times are local.

    `form` is how names are written: `plain_name`, or `quoted_name` for a terminal.
    """
    sizes = [_size(entry.inode) for entry in entries]
    columns = [
        [str(entry.inode.links_count), str(entry.inode.uid), str(entry.inode.gid), size]
        for entry, size in zip(entries, sizes, strict=True)
    ]
    widths = [max((len(row[number]) for row in columns), default=0) for number in range(4)]
    for entry, row in zip(entries, columns, strict=True):
        numbers = " ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.inode.mtime))
        arrow = f" -> {form(os.fsdecode(entry.target))}" if entry.target is not None else ""
        yield f"{stat.filemode(entry.inode.mode)} {numbers} {changed} {form(os.fsdecode(entry.name))}{arrow}"


def _size(inode: Inode) -> str:
    if inode.is_device:
        major, minor = inode.rdev
        return f"{major}, {minor}"
    return str(inode.size_bytes)

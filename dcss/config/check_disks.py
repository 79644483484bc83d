"""Check `disks:` of guests: names, and the files of this machine behind them."""

import os
from collections.abc import Iterator
from pathlib import Path

from dcss.config.check_guests import guest_count
from dcss.config.draft import Draft
from dcss.config.problems import FieldProblem, Location


def check_disks(draft: Draft, directory: Path) -> Iterator[FieldProblem]:
    """Yield what is wrong with the disks; relative paths begin in `directory`."""
    for index, guest in enumerate(draft.model.guests):
        at: Location = ("guests", index, "disks")
        names: set[str] = set()
        for number, disk in enumerate(guest.disks):
            here = (*at, number)
            if draft.sound(*here, "name"):
                if disk.name in names:
                    yield FieldProblem((*here, "name"), f"'{disk.name}' again", "each name once in a guest")
                names.add(disk.name)
            if draft.sound(*here, "file") and draft.sound(*here, "writable"):
                yield from _file((*here, "file"), directory / disk.file, writable=disk.writable)


def shared_disks(draft: Draft, directory: Path) -> Iterator[FieldProblem]:
    """Yield each file that several guests have as a disk and one of them writes: their caches do not know of it."""
    users: dict[str, int] = {}
    writable: dict[str, Location] = {}
    for index, guest in enumerate(draft.model.guests):
        for number, disk in enumerate(guest.disks):
            path = os.path.realpath(directory / disk.file)
            users[path] = users.get(path, 0) + guest_count(guest)
            if disk.writable:
                writable.setdefault(path, ("guests", index, "disks", number))
    for path, location in writable.items():
        if users[path] > 1:
            found = f"{users[path]} guests have {path} as a disk, and it is writable here"
            mends = "one that writes while another has it mounted damages it: let them follow each other by after:"
            yield FieldProblem(location, found, "", mends)


def _file(location: Location, path: Path, *, writable: bool) -> Iterator[FieldProblem]:
    wanted = "a regular file"
    try:
        if not path.is_file():
            yield FieldProblem(location, f"{'something else' if path.exists() else 'nothing'} at {path}", wanted)
        elif path.stat().st_size == 0:
            mends = f"truncate -s 64M {path} makes it a disk of zeros"
            yield FieldProblem(location, f"an empty file at {path}", "a file with the size of the disk", mends)
        elif not os.access(path, os.R_OK):
            yield FieldProblem(location, f"{path}, which may not be read", f"{wanted} that may be read", "chmod")
        elif writable and not os.access(path, os.W_OK):
            mends = "leave writable: out, or chmod"
            yield FieldProblem(location, f"{path}, which may not be written", f"{wanted} that may be written", mends)
    except OSError as error:  # such as a name that is too long
        yield FieldProblem(location, f"{error.strerror} at {path}", wanted)

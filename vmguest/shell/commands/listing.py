"""Commands that show names and inodes: ls, stat, find."""

import os
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from vmguest.fs.filesystem import VfsInode
from vmguest.fs.mount import Dentry
from vmguest.shell.commands.format import full_time, list_time, owner, type_name
from vmguest.shell.context import Builtin, Context, UsageError, number, operands, options, shown

_BLOCKS_512_PER_KIB = 2


class _Entry(NamedTuple):
    name: str
    dentry: Dentry


def ls(context: Context) -> None:
    """List directories, or name files."""
    given, names = options(context, "laAiRd1")
    files: list[_Entry] = []
    directories: list[_Entry] = []
    for name in names or [b"."]:
        with context.reporting(f"cannot access '{shown(name)}'"):
            dentry = context.dentry(name, follow=not ("l" in given or "d" in given))
            listed = dentry.inode.is_dir and "d" not in given
            (directories if listed else files).append(_Entry(shown(name), dentry))
    _print(context, given, sorted(files, key=_by_name))
    headed = "R" in given or len(names) > 1
    left = sorted(directories, key=_by_name, reverse=True)
    separated = bool(files)
    while left:
        if separated:
            context.out.line("")
        separated = True
        inside = _list(context, given, left.pop(), headed)
        if "R" in given:
            left += reversed(inside)


def _list(context: Context, given: dict[str, bytes], directory: _Entry, headed: bool) -> list[_Entry]:
    """List a directory, and return the directories in it."""
    entries: list[_Entry] = []
    with context.reporting(f"reading directory '{directory.name}'"):
        for child in context.kernel.vfs.children(directory.dentry):
            name = shown(child.name)
            if not name.startswith(".") or "a" in given or "A" in given:
                entries.append(_Entry(name, child))
    entries.sort(key=_by_name)
    above = f"{directory.name.rstrip('/')}/"
    inside = [_Entry(above + entry.name, entry.dentry) for entry in entries if entry.dentry.inode.is_dir]
    if "a" in given:
        parent = context.kernel.vfs.resolve(b"..", start=directory.dentry)
        entries[:0] = [_Entry(".", directory.dentry), _Entry("..", parent)]
    if headed:
        context.out.line(f"{directory.name}:")
    if "l" in given:
        context.out.line(f"total {sum(entry.dentry.inode.blocks_512 for entry in entries) // _BLOCKS_512_PER_KIB}")
    _print(context, given, entries)
    return inside


def _print(context: Context, given: dict[str, bytes], entries: list[_Entry]) -> None:
    rows = [_row(given, entry) for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    for row in rows:
        # Owner and group are names, flush left; numbers are flush right.
        cells = [
            f"{c:<{w}}" if c[0].isalpha() or c[0] in "-" else f"{c:>{w}}" for c, w in zip(row, widths, strict=False)
        ]
        context.out.line(" ".join([*cells, row[-1]]))


def _row(given: dict[str, bytes], entry: _Entry) -> list[str]:
    inode = entry.dentry.inode
    cells = [str(inode.number)] if "i" in given else []
    name = entry.name
    if "l" in given:
        cells += [stat.filemode(inode.mode), str(inode.links_count), owner(inode.uid), owner(inode.gid)]
        cells += [_size(inode), list_time(inode.mtime)]
        if inode.is_symlink:
            name += f" -> {shown(entry.dentry.mount.file_system.readlink(inode))}"
    return [*cells, name]


def _size(inode: VfsInode) -> str:
    """Return the size, or the numbers of a device in its place."""
    if stat.S_ISBLK(inode.mode) or stat.S_ISCHR(inode.mode):
        major, minor = inode.rdev
        return f"{major}, {minor}"
    return str(inode.size_bytes)


def _by_name(entry: _Entry) -> bytes:
    return os.fsencode(entry.name)


_KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFBLK: "b", stat.S_IFCHR: "c"}
_FIELDS: dict[str, Callable[[VfsInode], object]] = {
    "a": lambda inode: f"{stat.S_IMODE(inode.mode):o}",
    "A": lambda inode: stat.filemode(inode.mode),
    "b": lambda inode: inode.blocks_512,
    "B": lambda _inode: 512,
    "f": lambda inode: f"{inode.mode:x}",
    "F": type_name,
    "g": lambda inode: inode.gid,
    "h": lambda inode: inode.links_count,
    "i": lambda inode: inode.number,
    "s": lambda inode: inode.size_bytes,
    "u": lambda inode: inode.uid,
    "X": lambda inode: inode.atime,
    "Y": lambda inode: inode.mtime,
    "Z": lambda inode: inode.ctime,
}
FORMAT_LETTERS = ("n", *_FIELDS)


def stat_command(context: Context) -> None:
    """Show an inode, whole or as a format says; links are not followed, unless -L."""
    given, names = options(context, "L", "c")
    for name in operands(names):
        with context.reporting(f"cannot stat '{shown(name)}'"):
            dentry = context.dentry(name, follow="L" in given)
            text = _formatted(shown(given["c"]), name, dentry) if "c" in given else _full(name, dentry)
            context.out.line(text)


def _formatted(form: str, name: bytes, dentry: Dentry) -> str:
    pieces = iter(form.split("%"))
    text = next(pieces)
    for piece in pieces:
        if piece == "":  # %%, and the text behind it
            text += "%" + next(pieces, "")
        elif piece[0] == "n":
            text += shown(name) + piece[1:]
        elif piece[0] in _FIELDS:
            text += f"{_FIELDS[piece[0]](dentry.inode)}{piece[1:]}"
        else:
            raise UsageError(f"format %{piece[0]}: wanted one of {' '.join(FORMAT_LETTERS)}")
    return text


def _full(name: bytes, dentry: Dentry) -> str:
    inode = dentry.inode
    target = f" -> {shown(dentry.mount.file_system.readlink(inode))}" if inode.is_symlink else ""
    major, minor = dentry.mount.file_system.device_number
    mode = f"({stat.S_IMODE(inode.mode):04o}/{stat.filemode(inode.mode)})"
    return "\n".join(
        (
            f"  File: {shown(name)}{target}",
            f"  Size: {inode.size_bytes:<10}\tBlocks: {inode.blocks_512:<10} IO Block: 4096   {type_name(inode)}",
            f"Device: {major},{minor}\tInode: {inode.number:<11} Links: {inode.links_count}",
            f"Access: {mode}  Uid: ({inode.uid:5}/{owner(inode.uid):>8})   Gid: ({inode.gid:5}/{owner(inode.gid):>8})",
            f"Access: {full_time(inode.atime)}",
            f"Modify: {full_time(inode.mtime)}",
            f"Change: {full_time(inode.ctime)}",
            " Birth: -",
        )
    )


def find(context: Context) -> None:
    """Print the names below directories that pass every test; links are not followed."""
    words = list(context.arguments)
    at = next((i for i, word in enumerate(words) if word.startswith(b"-")), len(words))
    starts, tests = words[:at] or [b"."], words[at:]
    pattern, wanted, depth = None, "", None
    while tests:
        if len(tests) == 1:
            raise UsageError(f"missing argument to '{shown(tests[0])}'")
        test, value, *tests = tests
        if test == b"-name":
            pattern = shown(value)
        elif test == b"-type" and shown(value) in _KINDS.values():
            wanted = shown(value)
        elif test == b"-maxdepth":
            depth = number(value, "levels")
        else:
            raise UsageError(f"unknown test '{shown(test)} {shown(value)}'")
    for start in starts:
        with context.reporting(f"'{shown(start)}'"):
            for name, dentry in _below(context, start, context.dentry(start, follow=False), depth):
                base = name.rstrip(b"/").rpartition(b"/")[2] or b"/"
                if wanted in {"", _kind(dentry.inode)} and (pattern is None or fnmatchcase(shown(base), pattern)):
                    context.out.line(shown(name))


def _below(context: Context, name: bytes, dentry: Dentry, depth: int | None) -> Iterator[tuple[bytes, Dentry]]:
    left = [(name, dentry, 0)]
    while left:
        name, dentry, level = left.pop()
        yield name, dentry
        if dentry.inode.is_dir and level != depth:
            above = name.rstrip(b"/") + b"/"
            inside = [(above + child.name, child, level + 1) for child in context.kernel.vfs.children(dentry)]
            left += reversed(inside)


def _kind(inode: VfsInode) -> str:
    return _KINDS.get(stat.S_IFMT(inode.mode), "?")


COMMANDS = {
    b"find": Builtin(find, "find [PATH]... [-name PATTERN] [-type f|d|l|b|c] [-maxdepth LEVELS]"),
    b"ls": Builtin(ls, "ls [-laAiRd1] [FILE]..."),
    b"stat": Builtin(stat_command, "stat [-L] [-c FORMAT] FILE..."),
}

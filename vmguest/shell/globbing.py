"""Wildcards of a command line, as a shell expands them: sorted, hidden names only where asked for."""

import os
import re
from collections.abc import Iterator

from dcss.errors import Ext2FormatError, KernelError
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs
from vmguest.shell.parser import Word
from vmguest.workload import compiled

_SPECIAL = re.compile(rb"[*?\[]")


def expand(vfs: Vfs, directory: Dentry, word: Word) -> list[bytes]:
    """Return the paths that match a word, relative ones from `directory`; the word itself where none does."""
    literal = b"".join(fragment.text for fragment in word)
    if not any(not fragment.quoted and _SPECIAL.search(fragment.text) for fragment in word):
        return [literal]
    pattern = b"".join(f.text if not f.quoted else _SPECIAL.sub(rb"[\g<0>]", f.text) for f in word)
    names = pattern.split(b"/")
    start, prefix = (vfs.root(), b"/") if pattern.startswith(b"/") else (directory, b"")
    try:
        found = list(_match(vfs, start, prefix, [name for name in names if name]))
    except (KernelError, Ext2FormatError):
        found = []  # what cannot be listed matches nothing, as in any shell; the command says why
    return sorted(found) or [literal]


def _match(vfs: Vfs, directory: Dentry, prefix: bytes, names: list[bytes]) -> Iterator[bytes]:
    name, rest = names[0], names[1:]
    for dentry, shown in _named(vfs, directory, name):
        if not rest:
            yield prefix + shown
            continue
        try:
            inside = vfs.resolve(shown, start=directory) if dentry.inode.is_symlink else dentry
        except KernelError:
            continue  # a link that leads nowhere has no names behind it
        if inside.inode.is_dir:
            yield from _match(vfs, inside, prefix + shown + b"/", rest)


def _named(vfs: Vfs, directory: Dentry, name: bytes) -> Iterator[tuple[Dentry, bytes]]:
    """Yield what a name of the pattern stands for in a directory, with the name to show."""
    if not _SPECIAL.search(name):
        try:
            yield vfs.resolve(name, follow=False, start=directory), name
        except KernelError:
            return
        return
    matches = compiled(name).match
    hidden = name.startswith(b".")
    for child in vfs.children(directory):
        if matches(os.fsdecode(child.name)) and (hidden or not child.name.startswith(b".")):
            yield child, child.name

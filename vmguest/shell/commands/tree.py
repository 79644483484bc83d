"""Commands that change the tree: mkdir, mknod, rmdir, rm, touch, cp, ln, readlink."""

import stat
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR
from time import time

from dcss.errors import KernelError
from vmguest.fs import namei
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_CREAT, O_TRUNC, O_WRONLY, open_dentry
from vmguest.shell.context import Builtin, Context, UsageError, number, operands, options, shown

_MAJORS, _MINORS = 1 << 12, 1 << 20  # linux/kdev_t.h


def mkdir(context: Context) -> None:
    """Make directories; with -p also those above, and none that is there is an error."""
    given, names = options(context, "p")
    for name in operands(names):
        with context.reporting(f"cannot create directory '{shown(name)}'"):
            if "p" in given:
                _make_parents(context, name)
            else:
                namei.mkdir(context.kernel.vfs, name, context.directory)


def _make_parents(context: Context, name: bytes) -> None:
    done = b"/" if name.startswith(b"/") else b""
    parts = [part for part in name.split(b"/") if part]
    for place, part in enumerate(parts, 1):
        done += part + b"/"
        try:
            namei.mkdir(context.kernel.vfs, done, context.directory)
        except KernelError as error:
            if error.errno != EEXIST:
                raise
            if not context.dentry(done.rstrip(b"/")).inode.is_dir:
                errno = EEXIST if place == len(parts) else ENOTDIR
                raise KernelError(errno, f"{shown(done)}: not a directory") from error


def mknod(context: Context) -> None:
    """Make the node of a device."""
    _, words = options(context, "")
    name, kind, *numbers = operands(words, at_least=4, at_most=4)
    if kind not in {b"b", b"c"}:
        raise UsageError(f"invalid device type '{shown(kind)}'")
    major, minor = (number(word, "device") for word in numbers)
    mode = (stat.S_IFBLK if kind == b"b" else stat.S_IFCHR) | 0o644
    with context.reporting(shown(name)):
        if major >= _MAJORS or minor >= _MINORS:
            raise KernelError(EINVAL, f"device {major}:{minor}: wanted numbers below {_MAJORS} and {_MINORS}")
        namei.mknod(context.kernel.vfs, name, mode, (major, minor), context.directory)


def rmdir(context: Context) -> None:
    """Remove empty directories."""
    _, names = options(context, "")
    for name in operands(names):
        with context.reporting(f"failed to remove '{shown(name)}'"):
            namei.rmdir(context.kernel.vfs, name, context.directory)


def rm(context: Context) -> None:
    """Remove files; with -r directories with all they hold, with -f a missing one is no error."""
    given, names = options(context, "rRf")
    recursive = "r" in given or "R" in given
    for name in operands(names, at_least=0 if "f" in given else 1):
        if name.rstrip(b"/").rpartition(b"/")[2] in {b"", b".", b".."}:
            context.fail(f"refusing to remove '.', '..' or '/': '{shown(name)}'")
            continue
        with context.reporting(f"cannot remove '{shown(name)}'"):
            try:
                _remove(context, context.dentry(name, follow=False), recursive)
            except KernelError as error:
                if error.errno != ENOENT or "f" not in given:
                    raise


def _remove(context: Context, dentry: Dentry, recursive: bool) -> None:
    vfs = context.kernel.vfs
    if dentry.inode.is_dir and not recursive:
        raise KernelError(EISDIR, f"{shown(dentry.path)}: is a directory")
    if dentry.parent is None:
        raise KernelError(EBUSY, "/: is the root")
    left = [dentry]
    while left:  # by name from where it was found: its path may lead elsewhere, over mounts, or be too long
        dentry = left[-1]
        inside = list(vfs.children(dentry)) if dentry.inode.is_dir else []
        if inside:
            left += reversed(inside)
        else:
            (namei.rmdir if dentry.inode.is_dir else namei.unlink)(vfs, dentry.name, dentry.parent)
            left.pop()


def touch(context: Context) -> None:
    """Set the time of the last change to now; a missing file is made, unless -c."""
    given, names = options(context, "c")
    for name in operands(names):
        with context.reporting(f"cannot touch '{shown(name)}'"):
            if "c" not in given or _exists(context, name):
                namei.touch(context.kernel.vfs, name, int(time()), context.directory)


def _exists(context: Context, name: bytes) -> bool:
    return namei.existing(context.kernel.vfs, name, start=context.directory) is not None


def cp(context: Context) -> None:
    """Copy files, from where their bytes lie into frames of real storage."""
    _, names = options(context, "")
    *sources, target = operands(names, at_least=2)
    into = _exists(context, target) and context.dentry(target).inode.is_dir
    if len(sources) > 1 and not into:
        raise KernelError(ENOTDIR, f"{shown(target)}: not a directory")
    for source in sources:
        place = target.rstrip(b"/") + b"/" + source.rstrip(b"/").rpartition(b"/")[2] if into else target
        with context.reporting(f"cannot stat '{shown(source)}'"):
            _copy(context, source, context.dentry(source), place)


def _copy(context: Context, source: bytes, dentry: Dentry, place: bytes) -> None:
    if dentry.inode.is_dir:
        context.fail(f"-r is not supported; omitting directory '{shown(source)}'")
    elif _exists(context, place) and _same(context.dentry(place), dentry):
        context.fail(f"'{shown(source)}' and '{shown(place)}' are the same file")
    else:
        with (
            context.reporting(f"cannot copy '{shown(source)}' to '{shown(place)}'"),
            open_dentry(context.kernel.vfs, dentry) as opened,
            context.open(place, O_WRONLY | O_CREAT | O_TRUNC) as copy,
        ):
            opened.file.sendfile(0, opened.file.size_bytes, copy.write)


def _same(one: Dentry, other: Dentry) -> bool:
    return one.mount.file_system is other.mount.file_system and one.inode.number == other.inode.number


def ln(context: Context) -> None:
    """Make a symbolic link; with -f in place of what has its name."""
    given, names = options(context, "sf")
    if "s" not in given:
        raise UsageError("only symbolic links (-s) are supported")
    target, name = operands(names, at_least=2, at_most=2)
    if _exists(context, name) and context.dentry(name).inode.is_dir:
        name = name.rstrip(b"/") + b"/" + target.rstrip(b"/").rpartition(b"/")[2]
    with context.reporting(f"failed to create symbolic link '{shown(name)}'"):
        if "f" in given:
            try:
                namei.unlink(context.kernel.vfs, name, context.directory)
            except KernelError as error:
                if error.errno != ENOENT:
                    raise
        namei.symlink(context.kernel.vfs, target, name, context.directory)


def readlink(context: Context) -> None:
    """Print where a link points; with -f the path from the root that a name leads to."""
    given, names = options(context, "f")
    for name in operands(names):
        with context.reporting(shown(name)):
            dentry = context.dentry(name, follow="f" in given)
            target = dentry.path if "f" in given else dentry.mount.file_system.readlink(dentry.inode)
            context.out.line(shown(target))


COMMANDS = {
    b"cp": Builtin(cp, "cp SOURCE... TARGET"),
    b"ln": Builtin(ln, "ln -s [-f] TARGET LINK"),
    b"mkdir": Builtin(mkdir, "mkdir [-p] DIRECTORY..."),
    b"mknod": Builtin(mknod, "mknod NAME b|c MAJOR MINOR"),
    b"readlink": Builtin(readlink, "readlink [-f] FILE..."),
    b"rm": Builtin(rm, "rm [-rf] FILE..."),
    b"rmdir": Builtin(rmdir, "rmdir DIRECTORY..."),
    b"touch": Builtin(touch, "touch [-c] FILE..."),
}

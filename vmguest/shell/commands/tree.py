"""Commands that change the tree: mkdir, mknod, rmdir, rm, touch, cp, mv, ln, readlink."""

import stat
from dataclasses import dataclass
from errno import EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR
from time import time

from dcss.errors import KernelError
from vmguest.fs import attr, namei
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_CREAT, O_TRUNC, O_WRONLY, open_dentry, open_file
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
    """Make the node of a device, or with p a FIFO."""
    _, words = options(context, "")
    name, kind, *numbers = operands(words, at_least=2, at_most=4)
    if kind == b"p" and not numbers:
        with context.reporting(shown(name)):
            namei.mknod(context.kernel.vfs, name, stat.S_IFIFO | 0o666, (0, 0), context.directory)
        return
    operands(words, at_least=4)
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
            if _exists(context, name):
                now = int(time())
                attr.utimens(context.kernel.vfs, context.dentry(name), now, now, now=True)
            elif "c" not in given:
                namei.create(context.kernel.vfs, name, context.directory)


def _exists(context: Context, name: bytes) -> bool:
    return namei.existing(context.kernel.vfs, name, start=context.directory) is not None


def cp(context: Context) -> None:
    """Copy files, from where their bytes lie to where the copies lie; -r also directories, -p with owners and times."""
    given, names = options(context, "rRpa")
    *sources, target = operands(names, at_least=2)
    into = _is_directory(context, target)
    if len(sources) > 1 and not into:
        raise KernelError(ENOTDIR, f"{shown(target)}: not a directory")
    copier = _Copier(context, recursive=not given.keys().isdisjoint("rRa"), keep=not given.keys().isdisjoint("pa"))
    for source in sources:
        place = _inside(target, source) if into else target
        with context.reporting(f"cannot stat '{shown(source)}'"):
            copier.copy(source, context.dentry(source, follow=not copier.recursive), place)


@dataclass(slots=True)
class _Copier:
    """One run of cp: with `recursive` also directories, and links as links; with `keep` owners, modes and times too."""

    context: Context
    recursive: bool
    keep: bool

    def copy(self, source: bytes, dentry: Dentry, place: bytes) -> None:
        """Copy one tree; what lies in a directory is copied after it was made, and its times are set at the end."""
        if dentry.inode.is_dir and not self.recursive:
            self.context.fail(f"-r not specified; omitting directory '{shown(source)}'")
            return
        left = [(source, dentry, place, False)]
        while left:
            name, each, to, done = left.pop()
            with self.context.reporting(f"cannot copy '{shown(name)}' to '{shown(to)}'"):
                if not done and not self._copy_one(name, each, to):
                    continue
                if not done and each.inode.is_dir:
                    left.append((name, each, to, True))
                    inside = list(self.context.kernel.vfs.children(each))
                    left += [(_inside(name, child.name), child, _inside(to, child.name), False) for child in inside]
                elif self.keep:
                    self._keep(each, to)

    def _copy_one(self, name: bytes, dentry: Dentry, place: bytes) -> bool:
        """Copy one file, or make one directory or link; return False where it was refused."""
        context, vfs, inode = self.context, self.context.kernel.vfs, dentry.inode
        there = namei.existing(vfs, place, follow=False, start=context.directory)
        # A link at the place leads to what would be written, and so might cut the source itself.
        written = there if there is None or inode.is_symlink else namei.existing(vfs, place, start=context.directory)
        if any(found is not None and _same(found, dentry) for found in (there, written)):
            context.fail(f"'{shown(name)}' and '{shown(place)}' are the same file")
            return False
        if inode.is_dir:
            if there is not None and not there.inode.is_dir:
                raise KernelError(EEXIST, f"{shown(place)}: is no directory")
            into = namei.parent_of(vfs, place, context.directory)[0] if there is None else there
            if namei.is_below(into, dentry):
                context.fail(f"cannot copy a directory, '{shown(name)}', into itself, '{shown(place)}'")
                return False
            if there is None:
                namei.mkdir(vfs, place, context.directory, 0o777 if self.keep else stat.S_IMODE(inode.mode))
        elif inode.is_regular or not self.recursive:
            with (
                open_dentry(vfs, dentry) as opened,
                open_file(
                    vfs, place, O_WRONLY | O_CREAT | O_TRUNC, context.directory, stat.S_IMODE(inode.mode)
                ) as copy,
            ):
                if copy.dentry.inode.is_dir:
                    raise KernelError(EISDIR, f"{shown(place)}: is a directory")
                opened.file.sendfile(0, opened.file.size_bytes, copy.write_all)
        elif inode.is_symlink:
            namei.symlink(vfs, dentry.mount.file_system.readlink(inode), place, context.directory)
        else:
            namei.mknod(vfs, place, inode.mode, inode.rdev, context.directory)
        return True

    def _keep(self, dentry: Dentry, place: bytes) -> None:
        vfs, inode = self.context.kernel.vfs, dentry.inode
        copied = vfs.resolve(place, follow=False, start=self.context.directory)
        attr.chown(vfs, copied, inode.uid, inode.gid)
        if not inode.is_symlink:
            attr.chmod(vfs, copied, stat.S_IMODE(inode.mode))
        attr.utimens(vfs, copied, inode.atime, inode.mtime)


def mv(context: Context) -> None:
    """Rename files, over what has the new name; to another file system is for cp and rm."""
    _, names = options(context, "f")
    *sources, target = operands(names, at_least=2)
    into = _is_directory(context, target)
    if len(sources) > 1 and not into:
        raise KernelError(ENOTDIR, f"{shown(target)}: not a directory")
    for source in sources:
        place = _inside(target, source) if into else target
        with context.reporting(f"cannot move '{shown(source)}' to '{shown(place)}'"):
            namei.rename(context.kernel.vfs, source, place, context.directory)


def _same(one: Dentry, other: Dentry) -> bool:
    return one.mount.file_system is other.mount.file_system and one.inode.number == other.inode.number


def _is_directory(context: Context, name: bytes) -> bool:
    return _exists(context, name) and context.dentry(name).inode.is_dir


def _inside(directory: bytes, name: bytes) -> bytes:
    """Return the path that a file has in a directory, under its own last name."""
    return directory.rstrip(b"/") + b"/" + name.rstrip(b"/").rpartition(b"/")[2]


def ln(context: Context) -> None:
    """Give a file one more name, or with -s make a symbolic link; with -f in place of what has its name."""
    given, names = options(context, "sf")
    target, name = operands(names, at_least=2, at_most=2)
    if _is_directory(context, name):
        name = _inside(name, target)
    kind = "symbolic" if "s" in given else "hard"
    with context.reporting(f"failed to create {kind} link '{shown(name)}'"):
        if "f" in given:
            try:
                namei.unlink(context.kernel.vfs, name, context.directory)
            except KernelError as error:
                if error.errno != ENOENT:
                    raise
        if "s" in given:
            namei.symlink(context.kernel.vfs, target, name, context.directory)
        else:
            namei.link(context.kernel.vfs, context.dentry(target, follow=False), name, context.directory)


def readlink(context: Context) -> None:
    """Print where a link points; with -f the path from the root that a name leads to."""
    given, names = options(context, "f")
    for name in operands(names):
        with context.reporting(shown(name)):
            dentry = context.dentry(name, follow="f" in given)
            target = dentry.path if "f" in given else dentry.mount.file_system.readlink(dentry.inode)
            context.out.line(shown(target))


COMMANDS = {
    b"cp": Builtin(cp, "cp [-r] [-p] SOURCE... TARGET"),
    b"ln": Builtin(ln, "ln [-s] [-f] TARGET LINK"),
    b"mkdir": Builtin(mkdir, "mkdir [-p] DIRECTORY..."),
    b"mknod": Builtin(mknod, "mknod NAME b|c MAJOR MINOR, or mknod NAME p"),
    b"mv": Builtin(mv, "mv [-f] SOURCE... TARGET"),
    b"readlink": Builtin(readlink, "readlink [-f] FILE..."),
    b"rm": Builtin(rm, "rm [-rf] FILE..."),
    b"rmdir": Builtin(rmdir, "rmdir DIRECTORY..."),
    b"touch": Builtin(touch, "touch [-c] FILE..."),
}

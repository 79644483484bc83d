"""Commands about what a file has beside its data: chmod, chown, truncate, getfattr, setfattr, sync, setpriv."""

import stat
from errno import ENODATA, EPERM

from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.fs import attr
from vmguest.shell.context import Builtin, Context, UsageError, number, operands, options, shown

_WHO = {ord("u"): 0o700, ord("g"): 0o070, ord("o"): 0o007, ord("a"): 0o777}
_BITS = {ord("r"): 0o444, ord("w"): 0o222, ord("x"): 0o111}


def chmod(context: Context) -> None:
    """Set permission bits, by an octal number or by letters such as u+x,go-w."""
    mode, *names = operands(list(context.arguments), at_least=2)
    for name in names:
        with context.reporting(f"changing permissions of '{shown(name)}'"):
            dentry = context.dentry(name)
            inode = dentry.inode
            bits = _mode(mode, stat.S_IMODE(inode.mode), context.kernel.vfs.user.umask, is_dir=inode.is_dir)
            attr.chmod(context.kernel.vfs, dentry, bits)


def _mode(text: bytes, old: int, umask: int, *, is_dir: bool) -> int:
    """Return the mode that words of chmod(1) make of an old one. Raises UsageError."""
    try:
        bits = int(text, 8)
        if 0 <= bits <= 0o7777:
            return bits
    except ValueError:
        pass
    for clause in text.split(b","):
        old = _clause(clause, text, old, umask, is_dir=is_dir)
    return old


def _clause(clause: bytes, text: bytes, old: int, umask: int, *, is_dir: bool) -> int:
    at = next((i for i, letter in enumerate(clause) if letter in b"+-="), None)
    if at is None or any(letter not in _WHO for letter in clause[:at]):
        raise UsageError(f"invalid mode: '{shown(text)}'")
    who = 0
    for letter in clause[:at]:
        who |= _WHO[letter]
    mask = who or 0o777 & ~umask
    bits = 0
    for letter in clause[at + 1 :]:
        if letter in _BITS:
            bits |= _BITS[letter] & mask
        elif letter == ord("X"):
            bits |= 0o111 & mask if is_dir or old & 0o111 else 0
        elif letter == ord("s"):
            bits |= (stat.S_ISUID if mask & 0o700 else 0) | (stat.S_ISGID if mask & 0o070 else 0)
        elif letter == ord("t"):
            bits |= stat.S_ISVTX
        else:
            raise UsageError(f"invalid mode: '{shown(text)}'")
    sign = clause[at : at + 1]
    if sign == b"=":
        return old & ~(who or 0o777) | bits
    return old | bits if sign == b"+" else old & ~bits


def chown(context: Context) -> None:
    """Set owner, group, or both: USER, USER:GROUP or :GROUP, as numbers; -h of a link itself."""
    given, words = options(context, "h")
    owners, *names = operands(words, at_least=2)
    user, _, group = owners.partition(b":")
    uid = _id(user) if user else None
    gid = _id(group) if group else None
    for name in names:
        with context.reporting(f"changing ownership of '{shown(name)}'"):
            attr.chown(context.kernel.vfs, context.dentry(name, follow="h" not in given), uid, gid)


def _id(text: bytes) -> int:
    if text == b"root":
        return 0
    value = number(text, "user or group")
    if value >= 0xFFFFFFFF:
        raise UsageError(f"invalid user or group: '{shown(text)}'")
    return value


def truncate(context: Context) -> None:
    """Cut files to a size, or let them grow by a hole."""
    given, names = options(context, "", "s")
    if "s" not in given:
        raise UsageError("you must specify a size (-s)")
    size_bytes = number(given["s"], "bytes")
    for name in operands(names):
        with context.reporting(f"cannot truncate '{shown(name)}'"):
            attr.truncate(context.kernel.vfs, context.dentry(name), size_bytes)


def getfattr(context: Context) -> None:
    """List extended attributes of files: user's ones, or with -m - all; -d also their values; -n one by its name."""
    given, names = options(context, "dh", "nm")
    for name in operands(names):
        with context.reporting(shown(name)):
            found = attr.get_xattrs(context.kernel.vfs, context.dentry(name, follow="h" not in given))
            if "n" in given:
                if given["n"] not in found:
                    raise KernelError(ENODATA, f"{shown(name)}: no such attribute")
                wanted = [given["n"]]
            else:
                wanted = [each for each in sorted(found) if "m" in given or each.startswith(b"user.")]
            if wanted:
                context.out.line(f"# file: {shown(name.lstrip(b'/'))}")
                for each in wanted:
                    value = found[each].decode("utf-8", "backslashreplace")
                    context.out.line(f'{shown(each)}="{value}"' if "d" in given or "n" in given else shown(each))
                context.out.line("")


def setfattr(context: Context) -> None:
    """Set an extended attribute of files (-n NAME -v VALUE), or remove it (-x NAME)."""
    given, names = options(context, "h", "nvx")
    name = given.get("n", given.get("x"))
    if name is None or ("n" in given) == ("x" in given):
        raise UsageError("wanted -n NAME -v VALUE, or -x NAME")
    value = None if "x" in given else given.get("v", b"")
    for path in operands(names):
        with context.reporting(shown(path)):
            attr.set_xattr(context.kernel.vfs, context.dentry(path, follow="h" not in given), name, value)


def sync(context: Context) -> None:
    """Write everything that was changed to the disks."""
    operands(list(context.arguments), at_least=0, at_most=0)
    context.kernel.sync()


def setpriv(context: Context) -> None:
    """Run a command as another user: --reuid and --regid, as numbers; --groups or --clear-groups for the others."""
    words = list(context.arguments)
    before = context.task.credentials
    uid, gid, groups = before.uid, before.gid, before.groups
    while words and words[0].startswith(b"--"):
        option, _, value = words.pop(0).partition(b"=")
        if option == b"--":
            break
        if option == b"--reuid":
            uid = _id(value)
        elif option == b"--regid":
            gid = _id(value)
        elif option == b"--clear-groups":
            groups = frozenset()
        elif option == b"--groups":
            groups = frozenset(_id(each) for each in value.split(b","))
        else:
            raise UsageError(f"unrecognized option '{shown(option)}'")
    operands(words)
    if not before.privileged and (uid, gid, groups) != before[:3]:
        raise KernelError(EPERM, "only root becomes another user")
    context.out.flush()
    shell = context.shell.subshell(context.directory, Credentials(uid, gid, groups, before.umask))
    context.status = shell.run(words, context.out.pass_on, context.err.pass_on)


COMMANDS = {
    b"chmod": Builtin(chmod, "chmod MODE FILE..."),
    b"chown": Builtin(chown, "chown [-h] USER[:GROUP] FILE..."),
    b"getfattr": Builtin(getfattr, "getfattr [-d] [-h] [-m -] [-n NAME] FILE..."),
    b"setfattr": Builtin(setfattr, "setfattr [-h] -n NAME -v VALUE | -x NAME FILE..."),
    b"setpriv": Builtin(setpriv, "setpriv [--reuid=N] [--regid=N] [--clear-groups | --groups=N,...] COMMAND"),
    b"sync": Builtin(sync, "sync"),
    b"truncate": Builtin(truncate, "truncate -s BYTES FILE..."),
}

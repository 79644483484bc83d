"""Commands about mounts: mount, umount, df."""

from errno import EINVAL

from dcss.errors import KernelError
from vmguest.fs.do_mount import do_loopback, do_new_mount, do_remount
from vmguest.fs.mount import Mount
from vmguest.fs.options import parse_options
from vmguest.shell.commands.format import human
from vmguest.shell.context import Builtin, Context, UsageError, operands, options, shown


def mount(context: Context) -> None:
    """List the mounts, or mount a file system, a directory or file at another place, or with other options."""
    context.arguments = [word for given in context.arguments for word in _LONG.get(given, (given,))]
    vfs = context.kernel.vfs
    words, flags, type_name = _parsed(context)
    chosen = parse_options(flags)
    types = {kind.name: kind for kind in vfs.types if not kind.internal}
    if type_name not in types:
        raise UsageError(f"unknown filesystem type '{type_name}', wanted one of {', '.join(types)}")
    if not words:
        for mounted in context.kernel.vfs.mounts:
            line = f"{mounted.source} on {shown(mounted.at)} type {mounted.file_system.type_name}"
            context.out.line(f"{line} ({','.join(mounted.options)})")
        return
    if "remount" in chosen.verbs:
        at = operands(words, at_most=2)[-1]
        with context.reporting(f"remounting {shown(at)} failed"):
            place = context.dentry(at)
            access, *_ = place.mount.options
            # mount(2) drops flags that are not given again, so mount(8) gives those in force first
            in_force = (access, *place.mount.flags)
            do_remount(vfs, place, parse_options((*in_force, *flags)))
        return
    source, at = operands(words, at_least=2, at_most=2)
    with context.reporting(f"mounting {shown(source)} on {shown(at)} failed"):
        place = context.dentry(at)
        if "bind" in chosen.verbs:
            do_loopback(vfs, context.dentry(source), place, chosen.mount_flags)
        else:
            device = context.dentry(source) if types[type_name].needs_device else None
            do_new_mount(vfs, shown(source), device, place, type_name=type_name, options=chosen)


_LONG = {b"--bind": (b"-o", b"bind"), b"-B": (b"-o", b"bind")}


def _parsed(context: Context) -> tuple[list[bytes], list[str], str]:
    given, words = options(context, "rw", "to", repeated="o")
    flags = [flag for flag in shown(given.get("o", b"")).split(",") if flag]
    flags += [option for letter, option in (("r", "ro"), ("w", "rw")) if letter in given]
    return words, flags, shown(given.get("t", b"ext2"))


def umount(context: Context) -> None:
    """Unmount what was mounted last at a directory, or from a device."""
    _, names = options(context, "")
    for name in operands(names):
        with context.reporting(f"can't unmount {shown(name)}"):
            of_device = [mounted for mounted in context.kernel.vfs.mounts if mounted.source == shown(name)]
            if of_device and not _on_top(context, of_device[-1]):
                raise KernelError(EINVAL, f"{shown(of_device[-1].at)}: something else is mounted over it")
            context.kernel.vfs.umount(of_device[-1].at if of_device else name, context.directory)


def df(context: Context) -> None:
    """Show how full file systems are; without names all that have blocks and are not covered."""
    given, names = options(context, "hk")
    rows = [["Filesystem", "Size" if "h" in given else "1K-blocks", "Used", "Available", "Use%", "Mounted on"]]
    mounts: list[Mount] = []
    if names:
        for name in names:
            with context.reporting(shown(name)):
                mounts.append(context.dentry(name).mount)
    else:
        mounts = [m for m in context.kernel.vfs.mounts if m.file_system.statfs().blocks and _on_top(context, m)]
    for mounted in mounts:
        full = mounted.file_system.statfs()
        used, available = full.blocks - full.free_blocks, full.available_blocks
        share = f"{-(-used * 100 // (used + available))}%" if used + available else "-"
        sizes = [blocks * full.block_size_bytes for blocks in (full.blocks, used, available)]
        cells = [human(size) if "h" in given else str(size >> 10) for size in sizes]
        rows.append([mounted.source, *cells, share, shown(mounted.at)])
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        numbers = [f"{cell:>{width}}" for cell, width in zip(row[1:5], widths[1:], strict=True)]
        context.out.line(" ".join([f"{row[0]:<{widths[0]}}", *numbers, row[5]]))


def _on_top(context: Context, mounted: Mount) -> bool:
    """Whether the path of a mount leads to it, and to nothing that covers it or a directory above."""
    try:
        return context.kernel.vfs.resolve(mounted.at).mount is mounted
    except KernelError:
        return False


COMMANDS = {
    b"df": Builtin(df, "df [-hk] [FILE]..."),
    b"mount": Builtin(
        mount, "mount [-t ext2|tmpfs|proc|sysfs|devtmpfs] [-rwB] [-o OPTION,...] [DEVICE|DIRECTORY] [DIRECTORY]"
    ),
    b"umount": Builtin(umount, "umount DIRECTORY|DEVICE..."),
}

"""Commands about mounts: mount, umount, df."""

from dcss.errors import KernelError
from vmguest.fs.vfs import Mount
from vmguest.shell.commands.format import human
from vmguest.shell.context import Command, Context, UsageError, operands, options, reason, shown


def mount(context: Context) -> None:
    """List the mounts, or mount ext2 from a device at a directory that is there."""
    given, words = options(context, "r", "to")
    if not words:
        for mounted in context.kernel.vfs.mounts:
            system = mounted.file_system
            mount_line = f"{system.source} on {shown(mounted.at)} type {system.type_name}"
            context.out.line(f"{mount_line} ({','.join(system.options)})")
        return
    device, at = operands(words, at_least=2, at_most=2)
    if given.get("t", b"ext2") != b"ext2":
        raise UsageError(f"unknown filesystem type '{shown(given['t'])}', wanted ext2")
    flags = [flag for flag in shown(given.get("o", b"")).split(",") if flag]
    if "r" in given and "ro" not in flags:
        flags.append("ro")
    with context.reporting(f"mounting {shown(device)} on {shown(at)} failed"):
        node = context.node(at)
        context.kernel.mount(shown(device), shown(node.path), tuple(flags))


def umount(context: Context) -> None:
    """Unmount what was mounted last at a directory, or from a device."""
    _, names = options(context, "")
    for name in operands(names):
        with context.reporting(f"can't unmount {shown(name)}"):
            of_device = [m.at for m in context.kernel.vfs.mounts if m.file_system.source == shown(name)]
            path = of_device[-1] if of_device else context.node(name).path
            context.kernel.vfs.umount(shown(path))


def df(context: Context) -> None:
    """Show how full file systems are; without names all that have blocks and are not covered."""
    given, names = options(context, "hk")
    rows = [["Filesystem", "Size" if "h" in given else "1K-blocks", "Used", "Available", "Use%", "Mounted on"]]
    mounts: list[Mount] = []
    if names:
        for name in names:
            with context.reporting(shown(name)):
                mounts.append(context.node(name).mount)
    else:
        mounts = [m for m in context.kernel.vfs.mounts if m.file_system.statfs().blocks and _on_top(context, m)]
    for mounted in mounts:
        full = mounted.file_system.statfs()
        used, available = full.blocks - full.free_blocks, full.available_blocks
        share = f"{-(-used * 100 // (used + available))}%" if used + available else "-"
        sizes = [blocks * full.block_size_bytes for blocks in (full.blocks, used, available)]
        cells = [human(size) if "h" in given else str(size >> 10) for size in sizes]
        rows.append([mounted.file_system.source, *cells, share, shown(mounted.at)])
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        numbers = [f"{cell:>{width}}" for cell, width in zip(row[1:5], widths[1:], strict=True)]
        context.out.line(" ".join([f"{row[0]:<{widths[0]}}", *numbers, row[5]]))


def _on_top(context: Context, mounted: Mount) -> bool:
    try:
        return context.kernel.vfs.resolve(mounted.at).mount is mounted
    except KernelError as error:
        context.fail(f"{shown(mounted.at)}: {reason(context.kernel, error)}")
        return False


COMMANDS = {
    b"df": Command(df, "df [-hk] [FILE]..."),
    b"mount": Command(mount, "mount [-t ext2] [-r] [-o OPTION,...] [DEVICE DIRECTORY]"),
    b"umount": Command(umount, "umount DIRECTORY|DEVICE..."),
}

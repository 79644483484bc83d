"""System calls that mount and unmount file systems."""

import os
from errno import EINVAL, EPERM

from dcss.errors import Ext2FormatError, KernelError
from vmguest.fs.do_mount import do_loopback, do_new_mount, do_remount
from vmguest.fs.namei import existing
from vmguest.fs.options import parse_options
from vmguest.s390x.calls.registry import CallGroup
from vmguest.s390x.process import Thread
from vmguest.s390x.system import System

CALLS = CallGroup()
_BIND = 0x1000
# Flags of mount(2) and what mount(8) calls them (<linux/mount.h>).
_WORDS = {0x1: "ro", 0x2: "nosuid", 0x4: "nodev", 0x8: "noexec", 0x20: "remount", 0x400: "noatime", 0x800: "nodiratime"}
_WORDS[_BIND] = "bind"
_PROPAGATION = 0xF0000  # MS_UNBINDABLE to MS_SHARED: there is one namespace
_MAGIC, _MAGIC_MASK = 0xC0ED0000, 0xFFFF0000


def _text(thread: Thread, address: int) -> str:
    return os.fsdecode(thread.process.space.string(address)) if address else ""


def _check_root(thread: Thread) -> None:
    if not thread.process.credentials.privileged:
        raise KernelError(EPERM, "only root mounts and unmounts")


@CALLS.add("path", "path", "path", "ulong", "path")
def mount(system: System, thread: Thread, source: int, target: int, kind: int, flags: int, data: int) -> int:
    """Mount a file system, show a directory in another place, or change a mount's options."""
    _check_root(thread)
    vfs, start = system.vfs, thread.process.directory.place
    if flags & _MAGIC_MASK == _MAGIC:
        flags &= ~_MAGIC_MASK
    at = vfs.resolve(thread.process.space.string(target), start=start)
    if flags & _PROPAGATION:
        return 0
    words = [word for bit, word in _WORDS.items() if flags & bit] or []
    if not flags & 1:
        words.append("rw")
    options = parse_options([*words, *(word for word in _text(thread, data).split(",") if word)])
    name = _text(thread, source)
    if "remount" in options.verbs:
        do_remount(vfs, at, options)
    elif "bind" in options.verbs:
        do_loopback(vfs, vfs.resolve(os.fsencode(name), start=start), at)
    else:
        device = existing(vfs, os.fsencode(name), start=start) if name else None
        try:
            do_new_mount(vfs, name or "none", device, at, type_name=_text(thread, kind), options=options)
        except Ext2FormatError as error:
            raise KernelError(EINVAL, str(error)) from error
    return 0


@CALLS.add("path", "flags")
def umount2(system: System, thread: Thread, target: int, _flags: int) -> int:
    """Unmount what was mounted last at a place."""
    _check_root(thread)
    system.vfs.umount(thread.process.space.string(target), thread.process.directory.place)
    return 0


@CALLS.add("path")
def umount(system: System, thread: Thread, target: int) -> int:
    """Unmount what was mounted last at a place."""
    return umount2(system, thread, target, 0) or 0

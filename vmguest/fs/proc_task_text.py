"""What the files in /proc/PID say (fs/proc/array.c, base.c and fs/proc_namespace.c)."""

from typing import Final

from dcss.abi.page import PAGE_SIZE
from vmguest.fs.mount import Mount
from vmguest.fs.namei import Vfs
from vmguest.fs.open import FileDescription
from vmguest.fs.process_view import RLIM_INFINITY, ProcessView
from vmguest.fs.procfs import escaped
from vmguest.identity import Ids

TICKS_PER_SECOND: Final = 100  # USER_HZ
_FIRST_MOUNT_ID: Final = 20
_PRIORITY: Final = 20
_SIGCHLD: Final = 17
_STATES: Final = {"R": "running", "S": "sleeping", "T": "stopped", "Z": "zombie"}
_INF = RLIM_INFINITY
_LIMITS: Final = (  # name, unit, and the default of each resource number
    ("Max cpu time", "seconds", (_INF, _INF)),
    ("Max file size", "bytes", (_INF, _INF)),
    ("Max data size", "bytes", (_INF, _INF)),
    ("Max stack size", "bytes", (8 << 20, _INF)),
    ("Max core file size", "bytes", (0, _INF)),
    ("Max resident set", "bytes", (_INF, _INF)),
    ("Max processes", "processes", (4096, 4096)),
    ("Max open files", "files", (1024, 4096)),
    ("Max locked memory", "bytes", (64 << 10, 64 << 10)),
    ("Max address space", "bytes", (_INF, _INF)),
    ("Max file locks", "locks", (_INF, _INF)),
    ("Max pending signals", "signals", (4096, 4096)),
    ("Max msgqueue size", "bytes", (819_200, 819_200)),
    ("Max nice priority", "", (0, 0)),
    ("Max realtime priority", "", (0, 0)),
    ("Max realtime timeout", "us", (_INF, _INF)),
)


def stat(process: ProcessView) -> bytes:
    """Return /proc/PID/stat: 52 fields, those that mean nothing here as 0."""
    terminal = process.terminal
    tty, foreground = 0, -1
    if terminal is not None:
        tty, foreground = terminal.device_number, terminal.job.foreground_id
    signals = process.signals
    low = (1 << 31) - 1  # this file has the first 31 signals only
    before = (process.parent_pid, process.group_id, process.session_id, tty, foreground, 0, 0, 0, 0, 0)
    times = (_ticks(process.user_seconds), _ticks(process.system_seconds), 0, 0)
    sizes = (process.virtual_bytes, process.resident_bytes // PAGE_SIZE, RLIM_INFINITY)
    start = (_PRIORITY + process.nice, process.nice, len(process.threads), 0, _ticks(process.start_seconds))
    masks = (signals.pending & low, signals.blocked & low, signals.ignored & low, signals.caught & low)
    after = (0, 0, 0, _SIGCHLD, *[0] * 14)
    numbers = " ".join(map(str, (*before, *times, *start, *sizes, *[0] * 5, *masks, *after)))
    return b"%d (%b) %b %b\n" % (process.pid, process.name, process.state.encode(), numbers.encode())


def statm(process: ProcessView) -> bytes:
    """Return /proc/PID/statm, in pages."""
    size, resident = process.virtual_bytes // PAGE_SIZE, process.resident_bytes // PAGE_SIZE
    return b"%d %d 0 0 0 %d 0\n" % (size, resident, size)


def status(process: ProcessView) -> bytes:
    """Return /proc/PID/status."""
    user, signals, state = process.credentials, process.signals, process.state
    identity, has = process.identity, process.identity.capabilities
    fields: dict[str, object] = {
        "Umask": f"{user.umask:04o}",
        "State": f"{state} ({_STATES.get(state, 'unknown')})",
        "Tgid": process.pid,
        "Ngid": 0,
        "Pid": process.pid,
        "PPid": process.parent_pid,
        "TracerPid": 0,
        "Uid": _ids(identity.users),
        "Gid": _ids(identity.groups),
        "FDSize": 64,
        "Groups": " ".join(map(str, sorted(user.groups))) + " ",
        "NStgid": process.pid,
        "NSpid": process.pid,
        "NSpgid": process.group_id,
        "NSsid": process.session_id,
    }
    if state != "Z":
        sizes = {"VmPeak": process.virtual_bytes, "VmSize": process.virtual_bytes, "VmLck": 0, "VmPin": 0}
        sizes |= {"VmHWM": process.resident_bytes, "VmRSS": process.resident_bytes, "VmSwap": 0}
        fields |= {name: f"{size_bytes >> 10:8} kB" for name, size_bytes in sizes.items()}
    fields |= {"Threads": len(process.threads), "SigQ": "0/4096"}
    masks = {"SigPnd": 0, "ShdPnd": signals.pending, "SigBlk": signals.blocked, "SigIgn": signals.ignored}
    masks |= {"SigCgt": signals.caught, "CapInh": has.inheritable, "CapPrm": has.permitted}
    masks |= {"CapEff": has.effective, "CapBnd": has.bounding, "CapAmb": has.ambient}
    fields |= {name: f"{mask:016x}" for name, mask in masks.items()}
    fields |= {"NoNewPrivs": int(identity.no_new_privileges), "Seccomp": 0, "Cpus_allowed": 1}
    fields |= {"Cpus_allowed_list": 0, "Mems_allowed": 1}
    fields |= {"Mems_allowed_list": 0, "voluntary_ctxt_switches": 0, "nonvoluntary_ctxt_switches": 0}
    return b"Name:\t%b\n" % process.name + "".join(f"{name}:\t{value}\n" for name, value in fields.items()).encode()


def _ids(ids: Ids) -> str:
    """Return the real, effective, saved one, and that of files."""
    return "\t".join(map(str, (*ids, ids.effective)))


def limits(process: ProcessView) -> bytes:
    """Return /proc/PID/limits."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for number, (name, unit, default) in enumerate(_LIMITS):
        soft, hard = (_limit(value) for value in process.limits.get(number, default))
        lines.append(f"{name:<25} {soft:<20} {hard:<20} {f'{unit:<10}' if unit else ''}\n")
    return "".join(lines).encode()


def descriptor(opened: FileDescription, vfs: Vfs, *, close_on_exec: bool) -> bytes:
    """Return /proc/PID/fdinfo/N."""
    flags = opened.flags | (0o2000000 if close_on_exec else 0)
    mount_id, number = _mount_id(opened.dentry.mount, vfs), opened.dentry.inode.number
    return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n" % (opened.position, flags, mount_id, number)


def mountinfo(vfs: Vfs) -> bytes:
    """Return /proc/PID/mountinfo."""
    return b"".join(_mount_line(mount, vfs) for mount in vfs.mounts)


def _mount_line(mount: Mount, vfs: Vfs) -> bytes:
    parent = mount if mount.mountpoint is None else mount.mountpoint.mount
    access, *others = mount.options
    major, minor = mount.file_system.device_number
    flags = [access, *(option for option in others if option in mount.flags)]
    ids = f"{_mount_id(mount, vfs)} {_mount_id(parent, vfs)} {major}:{minor}"
    system = mount.file_system
    where = f"/{escaped(mount.root_place[1])} {escaped(mount.at)} {','.join(flags)}"
    kind = f"{system.type_name} {mount.source} {','.join(system.options)}"
    return f"{ids} {where} - {kind}\n".encode(errors="surrogateescape")


def _mount_id(mount: Mount, vfs: Vfs) -> int:
    """Return a number of a mount: its place among all; one of what has no place in the tree comes before them."""
    mounts = vfs.mounts
    return _FIRST_MOUNT_ID + mounts.index(mount) if mount in mounts else _FIRST_MOUNT_ID - 1


def _limit(value: int) -> str:
    return "unlimited" if value == RLIM_INFINITY else str(value)


def _ticks(seconds: float) -> int:
    return int(seconds * TICKS_PER_SECOND)

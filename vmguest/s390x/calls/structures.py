"""Structures that system calls exchange with s390x programs: big-endian, as the kernel's headers lay them out."""

import os
import struct
from typing import NamedTuple

from dcss.abi.page import PAGE_SIZE
from vmguest.fs.filesystem import StatFs, VfsInode
from vmguest.fs.libfs import PreciseTimes
from vmguest.fs.mount import Dentry, Mount

INT = struct.Struct(">i")
UINT = struct.Struct(">I")
ULONG = struct.Struct(">Q")
TIMESPEC = struct.Struct(">qq")  # seconds, nanoseconds
TIMEVAL = struct.Struct(">qq")  # seconds, microseconds
IOVEC = struct.Struct(">QQ")
POLLFD = struct.Struct(">ihh")
RLIMIT = struct.Struct(">QQ")
STACK = struct.Struct(">Qi4xQ")
_STAT = struct.Struct(">QQQ4IQQ6qqQ24x")
_STATX = struct.Struct(">IIQIIIHHQQQQ")
_STATX_TIME = struct.Struct(">qIi")
_STATX_TAIL = struct.Struct(">4I")
_STATX_BYTES = 256
_STATX_BASIC_STATS = 0x7FF
_STATFS = struct.Struct(">II5Q2IIII4I")
_DIRENT = struct.Struct(">QQHB")
_UTSNAME_FIELD_BYTES = 65
_SYSINFO = struct.Struct(">q3Q6QHH4xQQI4x")
_RUSAGE = struct.Struct(">4q14q")
_BLOCK_BYTES = 512

FILE_SYSTEM_MAGIC = {
    "ext2": 0xEF53,
    "tmpfs": 0x01021994,
    "rootfs": 0x01021994,
    "devtmpfs": 0x01021994,
    "proc": 0x9FA0,
    "sysfs": 0x62656572,
    "pipefs": 0x50495045,
    "sockfs": 0x534F434B,
    "anon_inodefs": 0x09041934,
}


def device(major: int, minor: int) -> int:
    """Return a device number as st_dev has it (new_encode_dev)."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def device_of(mount: Mount) -> tuple[int, int]:
    """Return the major and minor number that stat(2) gives for what is on a mount."""
    return mount.file_system.device_number


def _times(inode: VfsInode) -> tuple[tuple[int, int], ...]:
    """Return the times of the last read, change of data, and change of the inode, as seconds and nanoseconds."""
    if isinstance(inode, PreciseTimes):
        return tuple(divmod(each, 1_000_000_000) for each in (inode.atime_ns, inode.mtime_ns, inode.ctime_ns))
    return (inode.atime, 0), (inode.mtime, 0), (inode.ctime, 0)


def pack_stat(dentry: Dentry) -> bytes:
    """Return struct stat, 144 bytes."""
    inode = dentry.inode
    return _STAT.pack(
        device(*device_of(dentry.mount)),
        inode.number,
        inode.links_count,
        inode.mode,
        inode.uid,
        inode.gid,
        0,
        device(*inode.rdev),
        inode.size_bytes,
        *(part for moment in _times(inode) for part in moment),
        PAGE_SIZE,
        inode.blocks_512,
    )


def pack_statx(dentry: Dentry) -> bytes:
    """Return struct statx, 256 bytes."""
    inode = dentry.inode
    head = _STATX.pack(
        _STATX_BASIC_STATS,
        PAGE_SIZE,
        0,
        inode.links_count,
        inode.uid,
        inode.gid,
        inode.mode,
        0,
        inode.number,
        inode.size_bytes,
        inode.blocks_512,
        0,
    )
    atime, mtime, ctime = _times(inode)
    times = b"".join(_STATX_TIME.pack(*moment, 0) for moment in (atime, (0, 0), ctime, mtime))
    return (head + times + _STATX_TAIL.pack(*inode.rdev, *device_of(dentry.mount))).ljust(_STATX_BYTES, b"\0")


def pack_statfs(mount: Mount, found: StatFs) -> bytes:
    """Return struct statfs, 88 bytes."""
    major, minor = device_of(mount)
    block_bytes = found.block_size_bytes or PAGE_SIZE
    return _STATFS.pack(
        FILE_SYSTEM_MAGIC.get(mount.file_system.type_name, 0),
        block_bytes,
        found.blocks,
        found.free_blocks,
        found.available_blocks,
        found.inodes,
        found.free_inodes,
        device(major, minor),
        0,
        255,
        block_bytes,
        _mount_flags(mount),
        *(0,) * 4,
    )


def pack_dirent(inode: int, offset: int, kind: int, name: bytes) -> bytes:
    """Return struct linux_dirent64; `kind` is the type in the upper bits of a mode."""
    size_bytes = -(-(_DIRENT.size + len(name) + 1) // 8) * 8
    return (_DIRENT.pack(inode, offset, size_bytes, kind >> 12) + name).ljust(size_bytes, b"\0")


def pack_utsname(*fields: bytes) -> bytes:
    """Return struct new_utsname: system, node, release, version, machine, domain."""
    return b"".join(field[: _UTSNAME_FIELD_BYTES - 1].ljust(_UTSNAME_FIELD_BYTES, b"\0") for field in fields)


class SystemInfo(NamedTuple):
    """What sysinfo(2) tells; memory in bytes, load averages in 65536ths."""

    uptime_seconds: int
    loads: tuple[int, int, int]
    total_bytes: int
    free_bytes: int
    buffer_bytes: int
    processes: int

    def pack(self) -> bytes:
        """Return struct sysinfo, 112 bytes."""
        memory = (self.total_bytes, self.free_bytes, 0, self.buffer_bytes, 0, 0)
        return _SYSINFO.pack(self.uptime_seconds, *self.loads, *memory, self.processes, 0, 0, 0, 1)


def pack_rusage(user_seconds: float, system_seconds: float, most_resident_bytes: int = 0) -> bytes:
    """Return struct rusage, 144 bytes."""
    return _RUSAGE.pack(*timeval(user_seconds), *timeval(system_seconds), most_resident_bytes >> 10, *(0,) * 13)


def timeval(seconds: float) -> tuple[int, int]:
    """Return seconds and microseconds."""
    return divmod(round(seconds * 1_000_000), 1_000_000)


def timespec(seconds: float) -> tuple[int, int]:
    """Return seconds and nanoseconds."""
    return divmod(round(seconds * 1_000_000_000), 1_000_000_000)


def _mount_flags(mount: Mount) -> int:
    flags = os.ST_RDONLY if mount.options[0] == "ro" else 0
    for name, bit in (("nosuid", os.ST_NOSUID), ("nodev", 4), ("noexec", 8), ("noatime", 1024), ("nodiratime", 2048)):
        if name in mount.flags:
            flags |= bit
    return flags | 0x20  # ST_VALID

"""What backs a mapping or an open file: memory (tmpfs, memfd, shared anonymous, hugetlbfs), or a file of the host.

Told by the device number, as maps and stat give it, against the mounts of the process's own namespace and the kernel's
internal mount of shared memory, which is in no mount table.
"""

import ctypes
import os
import stat
from contextlib import suppress
from pathlib import Path

from dcss.account.maps import Vma
from dcss.account.proc import read_proc

_MEMORY_FILE_SYSTEMS = frozenset({b"tmpfs", b"devtmpfs", b"ramfs", b"hugetlbfs"})
_SHMEM_FILE_SYSTEMS = frozenset({b"tmpfs", b"devtmpfs"})
_TMPFS_MAGIC = 0x01021994
# f_type of statfs(2), linux/magic.h: file systems on a disk, a network or over others, and the kernel's own
# tables. What no mount table shows and is none of these is memory: memfd_secret, aio rings, packet rings, hugetlb.
_HOST_MAGICS = frozenset(
    {
        *(0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E),  # ext, xfs, btrfs, f2fs, zfs, bcachefs
        *(0x4D44, 0x2011BAB0, 0x5346544E, 0x7366746E, 0x9660, 0x15013346),  # msdos, exfat, ntfs, ntfs3, iso9660, udf
        *(0x73717368, 0xE0F5E1E2, 0x3434, 0x3153464A, 0x52654973),  # squashfs, erofs, nilfs, jfs, reiserfs
        *(0x6969, 0x517B, 0xFE534D42, 0xFF534D42, 0x00C36400, 0x01021997),  # nfs, smb, smb2, cifs, ceph, 9p
        *(0x5346414F, 0x01161970, 0x7461636F, 0x0BD00BD0),  # afs, gfs2, ocfs2, lustre
        *(0x794C7630, 0x65735546, 0x61756673, 0xF15F),  # overlayfs, fuse, aufs, ecryptfs
        *(0x9FA0, 0x62656572, 0x63677270),  # proc, sysfs, cgroup2
    }
)
_STATFS_BYTES = 120  # struct statfs; its first field is f_type, a long

_libc = ctypes.CDLL(None, use_errno=True)


class Backings:
    """Tells memory from host files; asks once for each mount namespace and device."""

    def __init__(self) -> None:
        # memfd, shared anonymous memory and System V segments all lie on this one internal mount.
        descriptor = os.memfd_create("dcss")
        try:
            device = os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)
        self._known = {device: True}
        self._shmem = {device}
        self._namespaces: set[int] = set()

    def of_mapping(self, pid: int, vma: Vma) -> bool:
        """Say whether what backs a mapping of process `pid` lives in memory; it must be backed by something."""
        if vma.device in self._known:
            return self._known[vma.device]
        return self._ask(pid, vma.device, vma.inode, paths_to(pid, vma))

    def is_shmem(self, pid: int, vma: Vma) -> bool:
        """Say whether the kernel counts a mapping as shared memory (Pss_Shmem), which ramfs and aio rings are not."""
        return self.of_mapping(pid, vma) and vma.device in self._shmem

    def of_file(self, pid: int, device: int, inode: int, path: str) -> bool:
        """Say whether a file that process `pid` has open, and `path` leads to, lives in memory."""
        return self._known[device] if device in self._known else self._ask(pid, device, inode, [path])

    def _ask(self, pid: int, device: int, inode: int, paths: list[str]) -> bool:
        """Look `device` up in the mounts of the process; else ask for its kind of file system.

        A host file is the exception: any other device counts as memory, and its content is searched or missed by name.
        """
        self._read_mounts(pid)
        if device not in self._known:
            magics = {_magic(path) for path in paths if _leads_to(path, inode)}
            self._known[device] = not magics or bool(magics - _HOST_MAGICS)
            if _TMPFS_MAGIC in magics:
                self._shmem.add(device)
        return self._known[device]

    def _read_mounts(self, pid: int) -> None:
        namespace = _namespace(pid)
        if namespace in self._namespaces:
            return
        self._namespaces.add(namespace)
        for line in read_proc(pid, "mountinfo").splitlines():
            left, _, right = line.partition(b" - ")
            major, minor = left.split()[2].split(b":")
            kind, device = right.split()[0], os.makedev(int(major), int(minor))
            # Device numbers are the machine's: what one namespace shows holds in all.
            self._known.setdefault(device, kind in _MEMORY_FILE_SYSTEMS)
            if kind in _SHMEM_FILE_SYSTEMS:
                self._shmem.add(device)


def paths_to(pid: int, vma: Vma) -> list[str]:
    """Return where to open what backs a mapping: by the kernel's own link (root only), then by its name."""
    return [f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}", f"/proc/{pid}/root{os.fsdecode(vma.path)}"]


def open_object(paths: list[str], device: int, inode: int) -> int | None:
    """Open the first of `paths` that leads to that very regular file, for reading; None where none does."""
    for path in paths:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) == (device, inode):
                return descriptor
            os.close(descriptor)
    return None


def _leads_to(path: str, inode: int) -> bool:
    try:
        return Path(path).stat().st_ino == inode
    except OSError:
        return False


def _namespace(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    except PermissionError:
        return 0


def _magic(path: str) -> int | None:
    buffer = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
    if _libc.statfs(os.fsencode(path), ctypes.byref(buffer)) != 0:
        return None
    return int(buffer[0])

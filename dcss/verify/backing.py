"""What backs a mapping or an open file: memory (tmpfs, memfd, shared anonymous, hugetlbfs), or a file of the host.

Told by the device number, as maps and stat give it, against the mounts of the process's own namespace and the kernel's
internal mount of shared memory, which is in no mount table.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dcss.account.maps import Vma
from dcss.account.proc import read_proc
from dcss.host.file_questions import FileQuestions, FileStatus, NoAnswerError

_MEMORY_FILE_SYSTEMS = frozenset({b"tmpfs", b"devtmpfs", b"ramfs", b"hugetlbfs"})
_SHMEM_FILE_SYSTEMS = frozenset({b"tmpfs", b"devtmpfs"})
_TMPFS_MAGIC, _MQUEUE_MAGIC = 0x01021994, 0x19800202
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
# What asks a server or a network, and waits as long as that takes; FUSE's kinds go on behind a dot.
_SERVED_FILE_SYSTEMS = frozenset(
    {
        *(b"fuse", b"fuseblk", b"virtiofs", b"9p", b"nfs", b"nfs4", b"cifs", b"smb3", b"ceph", b"afs", b"coda"),
        *(b"autofs", b"lustre", b"gfs2", b"ocfs2", b"orangefs", b"beegfs", b"gpfs", b"vboxsf", b"vmhgfs", b"prl_fs"),
    }
)
_LINK = re.compile(r"/proc/\d+/(map_files|fd)/[^/]+")  # the kernel's own links: followed without walking a path


class Mount(NamedTuple):
    """A mounted file system: its device, and whether it answers by itself, without a server or a network."""

    device: int
    answers: bool


class Backings:
    """Tells memory from host files; asks once for each mount namespace and device.

    `unanswered` says for each device whose file system should have answered a question and did not why that is.
    """

    def __init__(self, questions: FileQuestions) -> None:
        self.questions = questions
        self.unanswered: dict[int, str] = {}
        # memfd, shared anonymous memory and System V segments all lie on this one internal mount.
        descriptor = os.memfd_create("dcss")
        try:
            device = os.fstat(descriptor).st_dev
            mount = mount_and_inode(read_proc(os.getpid(), f"fdinfo/{descriptor}"))[0]
        finally:
            os.close(descriptor)
        self._known = {device: True}
        self._shmem = {device}
        self._mounts = {mount: Mount(device, True)}
        self._servers: set[int] = set()  # devices of host files behind a server or a network
        self._queues: set[int] = set()  # devices of POSIX message queues
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

    def mount(self, pid: int, number: int) -> Mount | None:
        """Return the mount of that number, as fdinfo has it, or None where no mount table shows it."""
        if number not in self._mounts:
            self._read_mounts(pid)
        return self._mounts.get(number)

    def is_message_queue(self, status: FileStatus) -> bool:
        """Say whether a file is a POSIX message queue, wherever these are mounted, or nowhere."""
        return status.file_system == _MQUEUE_MAGIC or status.device in self._queues

    def answers(self, device: int) -> bool:
        """Say whether reading what is absent of a device's files cannot wait for anybody: it is shared memory."""
        return device in self._shmem

    def _ask(self, pid: int, device: int, inode: int, paths: list[str]) -> bool:
        """Look `device` up in the mounts of the process; else ask for its kind of file system.

        A host file is the exception: any other device counts as memory, and its content is searched or missed by name.
        """
        self._read_mounts(pid)
        if device not in self._known:
            try:
                magics = {status.file_system for status in self._statuses(paths) if status.inode == inode}
            except NoAnswerError as error:
                self.unanswered[device] = str(error)
                self._known[device] = False
            else:
                self._known[device] = device not in self._servers and (not magics or bool(magics - _HOST_MAGICS))
                if _TMPFS_MAGIC in magics:
                    self._shmem.add(device)
        return self._known[device]

    def _statuses(self, paths: list[str]) -> Iterator[FileStatus]:
        for path in paths:
            with suppress(OSError):
                yield self.questions.status(path)

    def _read_mounts(self, pid: int) -> None:
        namespace = _namespace(pid)
        if namespace in self._namespaces:
            return
        self._namespaces.add(namespace)
        for line in read_proc(pid, "mountinfo").splitlines():
            left, _, right = line.partition(b" - ")
            number, _, numbers = left.split()[:3]
            major, minor = numbers.split(b":")
            kind, device = right.split()[0], os.makedev(int(major), int(minor))
            answers = kind.partition(b".")[0] not in _SERVED_FILE_SYSTEMS
            self._mounts[int(number)] = Mount(device, answers)
            # Device numbers are the machine's: what one namespace shows holds in all.
            if answers:
                self._known.setdefault(device, kind in _MEMORY_FILE_SYSTEMS)
            else:
                self._servers.add(device)
            if kind == b"mqueue":
                self._queues.add(device)
            if kind in _SHMEM_FILE_SYSTEMS:
                self._shmem.add(device)


def mount_and_inode(fdinfo: bytes) -> tuple[int, int | None]:
    """Return the number of an open file's mount, and its inode number where the kernel gives it (Linux 5.14)."""
    fields = dict(line.split(b":", 1) for line in fdinfo.splitlines() if b":" in line)
    return int(fields[b"mnt_id"]), int(fields[b"ino"]) if b"ino" in fields else None


def paths_to(pid: int, vma: Vma) -> list[str]:
    """Return where to open what backs a mapping: by the kernel's own link (root only), then by its name."""
    return [f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}", f"/proc/{pid}/root{os.fsdecode(vma.path)}"]


def open_object(backings: Backings, paths: list[str], device: int, inode: int) -> int | None:
    """Open the first of `paths` that leads to that very regular file, for reading; None where none does."""
    for path in paths:
        with suppress(OSError, NoAnswerError):
            if backings.answers(device) and _LINK.fullmatch(path):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            else:  # a name may lead over any file system
                descriptor = backings.questions.open(path)
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) == (device, inode):
                return descriptor
            os.close(descriptor)
    return None


def _namespace(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/mnt").stat().st_ino
    except PermissionError:
        return 0

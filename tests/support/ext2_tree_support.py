"""Operations on one ext2, by this machine's kernel through a loop mount and by a guest's, told in the same words.

An operation is a tuple: what to do, who does it, and its words. What it leaves is text: "ok", or the name of an errno.
"""

# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH118, PTH211
# A Path drops slashes and dots that are part of what is tried.
import errno
import hashlib
import os
import stat
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from json import dump, loads
from pathlib import Path
from typing import Any, Protocol

from ext2_support import e2fs
from needs_support import tool

from dcss.errors import KernelError
from vmguest.credentials import Credentials
from vmguest.fs import attr, namei
from vmguest.fs.mount import Dentry
from vmguest.fs.open import O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, open_file
from vmguest.kernel import Kernel

Operation = tuple[Any, ...]
ROOT_USER, USER, OTHER = 0, 1000, 1001
GROUPS = {ROOT_USER: 0, USER: 100, OTHER: 101}


class Side(Protocol):
    """One kernel's side; each method may raise OSError."""

    def become(self, uid: int) -> None: ...
    def stat_all(self) -> dict[str, list[Any]]: ...
    def free(self) -> list[int]: ...


def run(side: Side, operations: list[Operation]) -> list[str]:
    """Do operations in turn; return what each left."""
    left = []
    for name, uid, *words in operations:
        side.become(uid)
        try:
            result = getattr(side, name)(*words)
            left.append("ok" if result is None else str(result))
        except OSError as error:
            left.append(errno.errorcode[error.errno or 0])
        finally:
            side.become(ROOT_USER)
    return left


def hardlinks_protected() -> bool:
    """Whether this machine's kernel keeps users from linking what they cannot write, as the guest's does."""
    return Path("/proc/sys/fs/protected_hardlinks").read_text() == "1\n"


class HostSide:
    """This machine's kernel, in the working directory."""

    def become(self, uid: int) -> None:
        if uid == ROOT_USER:
            os.seteuid(0)
        os.setegid(GROUPS[uid])
        os.setgroups([])
        os.seteuid(uid)

    def sync(self) -> None:
        """Nothing: that is what the guest's has to agree with."""

    def create(self, path: str, mode: int) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def open(self, path: str, flags: str) -> None:
        os.close(_no_fifo(os.open(path, _flags(flags, host=True), 0o666)))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def mkfifo(self, path: str, mode: int) -> None:
        os.mkfifo(path, mode)

    def mknod(self, path: str, major: int, minor: int) -> None:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(major, minor))

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def link(self, old: str, new: str) -> None:
        os.link(old, new, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid)

    def lchown(self, path: str, uid: int, gid: int) -> None:
        os.lchown(path, uid, gid)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(path, size)

    def write(self, path: str, position: int, text: str, count: int) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            return os.pwrite(descriptor, text.encode() * count, position)
        finally:
            os.close(descriptor)

    def append(self, path: str, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def utime(self, path: str, atime: int, mtime: int) -> None:
        os.utime(path, (atime, mtime))

    def setxattr(self, path: str, name: str, value: str, flags: int) -> None:
        os.setxattr(path, name, value.encode(), flags)

    def removexattr(self, path: str, name: str) -> None:
        os.removexattr(path, name)

    def setfacl(self, path: str, name: str, entries: str) -> None:
        os.setxattr(path, f"system.posix_acl_{name}", acl_value(entries))

    def read(self, path: str) -> str:
        descriptor = _no_fifo(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        try:
            return hashlib.sha256(os.read(descriptor, 1 << 24)).hexdigest()
        finally:
            os.close(descriptor)

    def stat_all(self) -> dict[str, list[Any]]:
        found = {}
        for directory, names, files in os.walk("."):
            for name in (*names, *files) if directory != "." else (*names, *files, "."):
                path = os.path.normpath(os.path.join(directory, name))
                info = os.lstat(path)
                kind = stat.S_IFMT(info.st_mode)
                data = ""
                if kind == stat.S_IFREG:
                    data = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                elif kind == stat.S_IFLNK:
                    data = os.readlink(path)
                size = 0 if kind == stat.S_IFDIR else info.st_size
                xattrs = {n: os.getxattr(path, n, follow_symlinks=False).decode("latin-1") for n in _named(path)}
                ids = [info.st_uid, info.st_gid, info.st_nlink, size, info.st_blocks]
                found[path] = [info.st_mode, *ids, data, sorted(xattrs.items()), info.st_rdev]
        found.pop("lost+found", None)
        return found

    def stat_link(self, path: str) -> str:
        return str(os.lstat(path).st_nlink)

    def times(self, path: str) -> str:
        info = os.lstat(path)
        return f"{int(info.st_atime)} {int(info.st_mtime)}"

    def free(self) -> list[int]:
        info = os.statvfs(".")
        return [info.f_bfree, info.f_ffree]


def _no_fifo(descriptor: int) -> int:
    """Refuse an open FIFO with ENXIO: a guest has nobody at its other end, and opens none."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.ENXIO, "a FIFO")
    return descriptor


def _named(path: str) -> list[str]:
    return [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("security.selinux")]


class GuestSide:
    """The guest's kernel, below a place of its tree."""

    def __init__(self, kernel: Kernel, place: bytes) -> None:
        self.vfs = kernel.vfs
        self.start = self.vfs.resolve(place)

    def become(self, uid: int) -> None:
        self.vfs.user = Credentials(uid, GROUPS[uid])

    def sync(self) -> None:
        writer = self.start.mount.file_system.writer
        assert writer is not None
        writer.sync()

    def create(self, path: str, mode: int) -> None:
        open_file(self.vfs, path.encode(), O_WRONLY | O_CREAT | O_EXCL, self.start, mode).close()

    def open(self, path: str, flags: str) -> None:
        open_file(self.vfs, path.encode(), _flags(flags, host=False), self.start).close()

    def mkdir(self, path: str, mode: int) -> None:
        namei.mkdir(self.vfs, path.encode(), self.start, mode)

    def mkfifo(self, path: str, mode: int) -> None:
        namei.mknod(self.vfs, path.encode(), stat.S_IFIFO | mode, (0, 0), self.start)

    def mknod(self, path: str, major: int, minor: int) -> None:
        namei.mknod(self.vfs, path.encode(), stat.S_IFBLK | 0o600, (major, minor), self.start)

    def symlink(self, target: str, path: str) -> None:
        namei.symlink(self.vfs, target.encode(), path.encode(), self.start)

    def link(self, old: str, new: str) -> None:
        namei.link(self.vfs, self._dentry(old, follow=False), new.encode(), self.start)

    def unlink(self, path: str) -> None:
        namei.unlink(self.vfs, path.encode(), self.start)

    def rmdir(self, path: str) -> None:
        namei.rmdir(self.vfs, path.encode(), self.start)

    def rename(self, old: str, new: str) -> None:
        namei.rename(self.vfs, old.encode(), new.encode(), self.start)

    def _dentry(self, path: str, *, follow: bool = True) -> Dentry:
        return self.vfs.resolve(path.encode(), follow=follow, start=self.start)

    def chmod(self, path: str, mode: int) -> None:
        attr.chmod(self.vfs, self._dentry(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        attr.chown(self.vfs, self._dentry(path), _id(uid), _id(gid))

    def lchown(self, path: str, uid: int, gid: int) -> None:
        attr.chown(self.vfs, self._dentry(path, follow=False), _id(uid), _id(gid))

    def truncate(self, path: str, size: int) -> None:
        attr.truncate(self.vfs, self._dentry(path), size)

    def write(self, path: str, position: int, text: str, count: int) -> int:
        with open_file(self.vfs, path.encode(), O_WRONLY, self.start) as opened:
            opened.position = position
            return opened.write(text.encode() * count)

    def append(self, path: str, text: str) -> None:
        with open_file(self.vfs, path.encode(), O_WRONLY | O_APPEND, self.start) as opened:
            opened.write(text.encode())

    def utime(self, path: str, atime: int, mtime: int) -> None:
        attr.utimens(self.vfs, self._dentry(path), atime, mtime)

    def setxattr(self, path: str, name: str, value: str, flags: int) -> None:
        attr.set_xattr(self.vfs, self._dentry(path), name.encode(), value.encode(), flags=flags)

    def setfacl(self, path: str, name: str, entries: str) -> None:
        full = f"system.posix_acl_{name}".encode()
        attr.set_xattr(self.vfs, self._dentry(path), full, acl_value(entries))

    def removexattr(self, path: str, name: str) -> None:
        attr.set_xattr(self.vfs, self._dentry(path), name.encode(), None)

    def read(self, path: str) -> str:
        with open_file(self.vfs, path.encode(), O_RDONLY, self.start) as opened:
            buffer = memoryview(bytearray(opened.file.size_bytes))
            opened.read(buffer)
            return hashlib.sha256(buffer).hexdigest()

    def stat_all(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        left: list[tuple[str, Dentry]] = [(".", self.start)]
        while left:
            path, dentry = left.pop()
            inode, system = dentry.inode, dentry.mount.file_system
            data = ""
            if inode.is_regular:
                data = self.read(path)
            elif inode.is_symlink:
                data = os.fsdecode(system.readlink(inode))
            xattrs = sorted(
                (os.fsdecode(name), value.decode("latin-1")) for name, value in system.xattrs(inode).items()
            )
            size = 0 if inode.is_dir else inode.size_bytes
            ids = [inode.uid, inode.gid, inode.links_count, size, inode.blocks_512]
            found[path] = [inode.mode, *ids, data, [list(each) for each in xattrs], os.makedev(*inode.rdev)]
            if inode.is_dir:
                for child in self.vfs.children(dentry):
                    left.append((os.path.normpath(os.path.join(path, os.fsdecode(child.name))), child))
        found.pop("lost+found", None)
        return found

    def stat_link(self, path: str) -> str:
        return str(self.vfs.resolve(path.encode(), follow=False, start=self.start).inode.links_count)

    def times(self, path: str) -> str:
        inode = self.vfs.resolve(path.encode(), follow=False, start=self.start).inode
        return f"{inode.atime} {inode.mtime}"

    def free(self) -> list[int]:
        info = self.start.mount.file_system.statfs()
        return [info.free_blocks, info.free_inodes]


def acl_value(entries: str) -> bytes:
    """Return an access control list's attribute from words such as u::6 u:1000:7 m::5."""
    tags = {"u": 0x01, "g": 0x04, "m": 0x10, "o": 0x20}
    packed = [struct.pack("<I", 2)]
    for entry in entries.split():
        who, owner, bits = entry.split(":")
        tag = tags[who] << 1 if owner else tags[who]
        packed.append(struct.pack("<HHI", tag, int(bits), int(owner) if owner else 0xFFFFFFFF))
    return b"".join(packed)


def _id(number: int) -> int | None:
    return None if number == -1 else number


def _flags(words: str, *, host: bool) -> int:
    ours = {"r": O_RDONLY, "w": O_WRONLY, "rw": O_RDWR, "creat": O_CREAT, "excl": O_EXCL, "trunc": O_TRUNC}
    theirs = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR, "creat": os.O_CREAT, "excl": os.O_EXCL}
    theirs |= {"trunc": os.O_TRUNC}
    extra = os.O_NONBLOCK if host else 0
    return sum((theirs if host else ours)[word] for word in words.split(",")) | extra


@contextmanager
def loop_mount(image: Path) -> Iterator[Path]:
    """Mount an image on this machine, as root; what was written is in the image afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([tool("mount") or "mount", "-t", "ext2", "-o", "loop", image, directory], check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run([tool("umount") or "umount", directory], check=True)


def run_on_host(image: Path, operations: list[Operation]) -> tuple[list[str], dict[str, list[Any]], list[int]]:
    """Do operations on an image by this machine's kernel; return what each left, the tree, and what is free."""
    with loop_mount(image) as directory:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                os.chroot(directory)  # ".." of the root leads nowhere else
                os.chdir("/")
                os.umask(0o022)
                side = HostSide()
                answer = [run(side, operations), side.stat_all(), side.free()]
                with os.fdopen(writing, "w") as stream:
                    dump(answer, stream)
            except BaseException:
                traceback.print_exc(file=sys.stderr)
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as stream:
            text = stream.read()
        os.waitpid(child, 0)
    assert text, "the child failed; see its traceback"
    e2fs("e2fsck", "-fn", image)
    left, tree, free = loads(text)
    return left, tree, free


def run_in_guest(side: GuestSide, operations: list[Operation]) -> tuple[list[str], dict[str, list[Any]], list[int]]:
    """Do operations in a guest; return what each left, the tree, and what is free."""
    try:
        return run(side, operations), side.stat_all(), side.free()
    except KernelError as error:
        raise AssertionError(f"the tree cannot be read: {error}") from error

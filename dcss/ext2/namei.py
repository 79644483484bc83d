"""Paths inside one volume: symbolic links, lookups, and a walk over everything (fs/namei.c, fs/ext2/symlink.c)."""

import os
from collections.abc import Iterator
from errno import EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from stat import S_IFDIR, S_IFLNK
from typing import Protocol

from dcss.abi.ext2 import BLOCK_POINTERS
from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from dcss.ext2.dir_block import DirEntry
from dcss.ext2.indirect import runs
from dcss.ext2.inode import FAST_SYMLINK_MAX_BYTES, Inode
from dcss.ext2.super import SbInfo
from dcss.ext2.tables import PATH_MAX

MAX_SYMLINKS = 40
WALK_PATH_MAX_BYTES = 1 << 16  # longer than any path a program can use, and a bound for damaged images


class NamedTree(Protocol):
    """What a walk along names needs of a volume; `Volume` is one."""

    def root(self) -> Inode:
        """Return the root directory."""
        ...

    def inode(self, number: int) -> Inode:
        """Return the inode of a number."""
        ...

    def lookup(self, directory: Inode, name: bytes) -> int | None:
        """Return the inode number that `name` has in a directory, or None."""
        ...

    def entries(self, directory: Inode) -> Iterator[DirEntry]:
        """Yield a directory's entries."""
        ...

    def readlink(self, inode: Inode) -> bytes:
        """Return a symbolic link's target."""
        ...


def readlink(info: SbInfo, inode: Inode) -> bytes:
    """Return a symbolic link's target, up to its first NUL as the kernel. Not a link: KernelError(EINVAL)."""
    if not inode.is_symlink:
        raise KernelError(EINVAL, f"inode {inode.number}: mode {inode.mode:#o}, not a symbolic link")
    longest = FAST_SYMLINK_MAX_BYTES if inode.is_fast_symlink else PAGE_SIZE - 1
    if not 1 <= inode.size_bytes <= longest:
        raise info.damaged(f"symbolic link inode {inode.number}", "i_size", inode.size_bytes, f"1..{longest}")
    if inode.is_fast_symlink:
        target = BLOCK_POINTERS.pack(*inode.block_pointers)[: inode.size_bytes]
    else:
        target = b"".join(_pieces(info, inode))
    return target.partition(b"\0")[0]


def _pieces(info: SbInfo, inode: Inode) -> Iterator[memoryview]:
    rest_bytes = inode.size_bytes
    for run in runs(info, inode, 0, None):
        if run.disk_block == 0:
            raise info.damaged(
                f"symbolic link inode {inode.number}", f"file block {run.file_block}", "a hole", "a block"
            )
        length = min(run.blocks * info.block_size_bytes, rest_bytes)
        yield info.source.bytes_at(run.disk_block * info.block_size_bytes, length)
        rest_bytes -= length


def resolve(volume: NamedTree, path: bytes, *, follow: bool) -> Inode:
    """Return the inode that a path from the volume's root names, as in path_resolution(7).

    `follow` says whether a symbolic link in the last place is followed; one before a slash always is.
    KernelError: ENOENT, ENOTDIR, ELOOP (more than 40 links), ENAMETOOLONG.
    """
    if not path:
        raise KernelError(ENOENT, "an empty path names nothing")
    if len(path) >= PATH_MAX:
        raise KernelError(ENAMETOOLONG, f"a path of {len(path)} bytes, wanted less than {PATH_MAX}")
    trail = [volume.root()]
    names = path.split(b"/")[::-1]
    links = 0
    while names:
        name, here = names.pop(), trail[-1]
        if here.mode & 0xF000 != S_IFDIR:
            raise KernelError(ENOTDIR, f"{_text(path)}: what comes before a slash is not a directory")
        if name in (b"", b"."):
            continue
        if name == b"..":
            del trail[max(len(trail) - 1, 1) :]
            continue
        number = volume.lookup(here, name)
        if number is None:
            raise KernelError(ENOENT, f"{_text(path)}: no entry {_text(name)}")
        inode = volume.inode(number)
        if inode.mode & 0xF000 != S_IFLNK or not (follow or names):
            trail.append(inode)
            continue
        links += 1
        if links > MAX_SYMLINKS:
            raise KernelError(ELOOP, f"{_text(path)}: more than {MAX_SYMLINKS} symbolic links")
        target = volume.readlink(inode)
        if target.startswith(b"/"):
            del trail[1:]
        if not target:
            raise KernelError(ENOENT, f"{_text(path)}: a symbolic link to nothing")
        names += target.split(b"/")[::-1]
    return trail[-1]


def walk(info: SbInfo, volume: NamedTree) -> Iterator[tuple[bytes, Inode]]:
    """Yield path and inode of the root (b"/") and of everything below, each directory before what it holds.

    A file with several names is yielded under each. A directory met twice is damage (Ext2FormatError), so that every
    walk ends; a path past 64 KiB is KernelError(ENAMETOOLONG). Links are not followed.
    """
    root = volume.root()
    yield b"/", root
    seen = {root.number}
    prefix = bytearray()
    open_directories = [(0, volume.entries(root))]
    while open_directories:
        length, remaining = open_directories[-1]
        del prefix[length:]
        for number, _, name in remaining:
            if name in (b".", b".."):
                continue
            inode = volume.inode(number)
            path = b"%b/%b" % (bytes(prefix), name)
            yield path, inode
            if inode.is_dir:
                if number in seen:
                    raise info.damaged(f"directory inode {number}", "second name", _text(path), "one name")
                if len(path) > WALK_PATH_MAX_BYTES:
                    raise KernelError(ENAMETOOLONG, f"a path of more than {WALK_PATH_MAX_BYTES} bytes")
                seen.add(number)
                prefix += b"/" + name
                open_directories.append((len(prefix), volume.entries(inode)))
                break
        else:
            open_directories.pop()


def _text(name: bytes) -> str:
    return repr(os.fsdecode(name))

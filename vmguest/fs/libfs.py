"""What file systems without blocks share (fs/libfs.c): inodes made at each look, text as a file, single mounts."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EROFS

from dcss.abi.page import PAGE_SIZE
from dcss.errors import KernelError
from vmguest.fs.file import Actor, UnmappableFile, clip, copy_pieces, send_pieces
from vmguest.fs.filesystem import StatFs, VfsInode
from vmguest.fs.options import MountOptions, refuse_data


class ModeMixin:
    """`is_dir`, `is_symlink` and `is_regular`, from the type bits of `mode`."""

    __slots__ = ()
    mode: int

    @property
    def is_dir(self) -> bool:
        """S_ISDIR."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_symlink(self) -> bool:
        """S_ISLNK."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_regular(self) -> bool:
        """S_ISREG."""
        return stat.S_ISREG(self.mode)


class PreciseTimes:
    """An inode whose times are kept to the nanosecond; others have seconds, as ext2 has."""

    __slots__ = ()
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class SimpleInode(ModeMixin):
    """An inode that nothing keeps: number, type and permissions; its times and owners are 0."""

    number: int
    mode: int
    size_bytes: int = 0
    links_count: int = 1
    rdev: tuple[int, int] = (0, 0)
    uid: int = 0
    gid: int = 0
    blocks_512: int = 0
    atime: int = 0
    mtime: int = 0
    ctime: int = 0


class SimpleFileSystem:
    """The part of a FileSystem that one without blocks, copies and options of its own has in common with the others."""

    type_name: str
    options: tuple[str, ...]
    device = None
    page_cache_bytes = 0
    buffer_bytes = 0
    has_acl = False

    def hold(self, inode: VfsInode) -> None:
        """Nothing is to be kept: names here are not removed."""

    def release(self, inode: VfsInode) -> None:
        """Nothing is held for one open file."""

    def is_held(self, inode: VfsInode) -> bool:  # noqa: ARG002
        """Return False: nothing is."""
        return False

    def xattrs(self, inode: VfsInode) -> dict[bytes, bytes]:  # noqa: ARG002
        """Return none: there are none here."""
        return {}

    def statfs(self) -> StatFs:
        """Return nothing: it has no blocks."""
        return StatFs(PAGE_SIZE, 0, 0, 0, 0, 0)

    def remount(self, options: MountOptions) -> None:
        """Nothing changes. Raises KernelError: EINVAL an unknown option, EROFS rw where it is ro for good."""
        refuse_data(self.type_name, options)
        if options.read_only is False and "ro" in self.options:
            raise KernelError(EROFS, f"{self.type_name}: cannot be written to")

    def unmount(self) -> None:
        """Nothing is held."""


class TextFile(UnmappableFile):
    """An open file whose text was made when it was opened."""

    def __init__(self, text: bytes) -> None:
        self._text = memoryview(text)

    @property
    def size_bytes(self) -> int:
        """Bytes that there are to read."""
        return len(self._text)

    def read(self, position: int, buffer: memoryview) -> int:
        """Copy the text."""
        return copy_pieces(self._pieces(position, len(buffer)), buffer)

    def sendfile(self, position: int, count: int, actor: Actor) -> int:
        """Hand the text to `actor`."""
        return send_pieces(self._pieces(position, count), actor)

    def _pieces(self, position: int, count: int) -> Iterator[memoryview]:
        end = clip(self, position, count)
        if position < end:
            yield self._text[position:end]

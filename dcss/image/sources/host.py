"""Read nodes from the host's file systems."""

import errno
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from dcss.abi.page import PAGE_SIZE
from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import DataRun, NodeAttributes, TreeDirectory, TreeFile, TreeNode, TreeSpecial, TreeSymlink
from dcss.host.cancellation import check_cancelled
from dcss.host.files import open_regular

_NO_XATTRS: Final = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES})


class HostFile(NamedTuple):
    """A file of the host as it was when the image was planned; `open` refuses it if it changed since."""

    path: bytes
    size_bytes: int
    mtime_ns: int

    def open(self) -> int:
        """Return a descriptor for reading. Raises ImageError where the file is gone, unreadable or changed."""
        descriptor = open_for_reading(self.path)
        found = os.fstat(descriptor)
        if found.st_size == self.size_bytes and found.st_mtime_ns == self.mtime_ns:
            return descriptor
        os.close(descriptor)
        raise ImageError(
            f"{os.fsdecode(self.path)} changed while the image was made: found {found.st_size} bytes and mtime "
            f"{found.st_mtime_ns} ns, planned {self.size_bytes} bytes and {self.mtime_ns} ns; build it again"
        )


def open_for_reading(path: bytes) -> int:
    """Return a descriptor for `path`. Raises ImageError where it is no regular file, or with the host's reason."""
    try:
        return open_regular(path)
    except OSError as error:
        raise host_error(path, "cannot be read", error) from error


def host_error(path: bytes, what: str, error: OSError) -> ImageError:
    """Return the ImageError for a failed system call on `path`."""
    return ImageError(f"{os.fsdecode(path)} {what}: {error.strerror}")


def lstat(path: bytes) -> os.stat_result:
    """Return lstat(2) of `path`. Raises ImageError with the host's reason."""
    try:
        return os.lstat(path)
    except OSError as error:
        raise host_error(path, "cannot be looked at", error) from error


def read_node(path: bytes, found: os.stat_result) -> TreeNode:
    """Return the node for what lies at `path`, whose lstat is `found`; a directory's entries are left empty.

    Raises ImageError where it cannot be read, or changed since `found`.
    """
    check_cancelled()
    kind = stat.S_IFMT(found.st_mode)
    attributes = read_attributes(path, found)
    if kind == stat.S_IFREG:
        store = HostFile(path, found.st_size, found.st_mtime_ns)
        return TreeFile(attributes, found.st_size, _data_of(store, found, attributes), store)
    if kind == stat.S_IFDIR:
        return TreeDirectory(attributes)
    if kind == stat.S_IFLNK:
        try:
            return TreeSymlink(attributes, os.readlink(path))  # noqa: PTH115 - a Path holds no bytes
        except OSError as error:
            raise host_error(path, "cannot be read as a link", error) from error
    return TreeSpecial(attributes, found.st_rdev)


def read_attributes(path: bytes, found: os.stat_result) -> NodeAttributes:
    """Return the attributes of `path`, whose lstat is `found`, with every extended attribute this user may read."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_XATTRS:
            raise host_error(path, "does not show its extended attributes", error) from error
        names = []
    xattrs = tuple(_read_xattrs(path, sorted(names))) if names else ()
    return NodeAttributes(found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns // 10**9, xattrs)


def _read_xattrs(path: bytes, names: list[str]) -> Iterator[tuple[bytes, bytes]]:
    for name in names:
        try:
            yield os.fsencode(name), os.getxattr(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_XATTRS:
                raise host_error(path, f"does not show its extended attribute {name}", error) from error


def _data_of(store: HostFile, found: os.stat_result, attributes: NodeAttributes) -> tuple[DataRun, ...]:
    """Return the data of the file, opened only where its attributes leave open where the data is."""
    if not found.st_size and os.access(store.path, os.R_OK):
        return ()
    # The one block of a small file is data where any is allocated, but st_blocks may count a block of attributes.
    if found.st_blocks and 0 < found.st_size <= PAGE_SIZE and not attributes.xattrs:
        return (DataRun(0, 0, found.st_size),)
    return data_runs(store)


def data_runs(store: HostFile) -> tuple[DataRun, ...]:
    """Return the data of the file by SEEK_DATA and SEEK_HOLE. A file that cannot be read fails here, not later."""
    size_bytes = store.size_bytes
    descriptor = open_for_reading(store.path)
    try:
        if not size_bytes:
            return ()
        if os.lseek(descriptor, 0, os.SEEK_HOLE) >= size_bytes:
            return (DataRun(0, 0, size_bytes),)
        runs = []
        offset = 0
        while offset < size_bytes:
            try:
                start = os.lseek(descriptor, offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    break
                raise
            offset = min(os.lseek(descriptor, start, os.SEEK_HOLE), size_bytes)
            if start < offset:
                runs.append(DataRun(start, start, offset - start))
        return tuple(runs)
    except OSError as error:
        raise host_error(store.path, "cannot be searched for holes", error) from error
    finally:
        os.close(descriptor)

"""What changes an ext2 that is mounted read-write: the VFS's Writer over the volume's."""

from collections.abc import Callable, Sequence

from dcss.ext2.inode import Inode as Ext2Inode
from dcss.ext2.inode import InodeChange
from dcss.ext2.write.writer import Caller, VolumeWriter
from vmguest.credentials import Credentials
from vmguest.fs.file import WritableFileOperations
from vmguest.fs.filesystem import VfsInode
from vmguest.fs.pagecache import PageCache


class Ext2Writer:
    """`open_file` opens a file for writing; `pages` are the copies of file data, none where files are in place.

    Of the mount's `options` resuid and resgid say who may use the blocks that are reserved, beside root, and grpid that
    a new file has its directory's group.
    """

    def __init__(
        self,
        writer: VolumeWriter,
        pages: PageCache,
        own: Callable[[VfsInode], Ext2Inode],
        open_file: Callable[[VolumeWriter, Ext2Inode], WritableFileOperations],
        options: Sequence[str],
    ) -> None:
        superblock = writer.volume.superblock
        self._group_of_directory = not {"grpid", "bsdgroups"}.isdisjoint(options)
        self._reserved_uid = number_option(options, "resuid", superblock.s_def_resuid)
        self._reserved_gid = number_option(options, "resgid", superblock.s_def_resgid)
        self.volume_writer = writer
        self._pages = pages
        self._own = own
        self._open_file = open_file

    def act_for(self, caller: Credentials) -> None:
        """Allocate for somebody from now on."""
        self.volume_writer.act_for(self._caller(caller))

    def create(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> Ext2Inode:
        """Make an empty regular file."""
        return self.volume_writer.create(self._own(directory), name, mode, self._caller(caller, directory))

    def mkdir(self, directory: VfsInode, name: bytes, mode: int, caller: Credentials) -> Ext2Inode:
        """Make a directory."""
        return self.volume_writer.mkdir(self._own(directory), name, mode, self._caller(caller, directory))

    def symlink(self, directory: VfsInode, name: bytes, target: bytes, caller: Credentials) -> Ext2Inode:
        """Make a symbolic link."""
        return self.volume_writer.symlink(self._own(directory), name, target, self._caller(caller, directory))

    def mknod(
        self, directory: VfsInode, name: bytes, mode: int, rdev: tuple[int, int], caller: Credentials
    ) -> Ext2Inode:
        """Make the node of a device, a FIFO or a socket."""
        return self.volume_writer.mknod(self._own(directory), name, mode, rdev, self._caller(caller, directory))

    def make_unnamed(self, directory: VfsInode, mode: int, caller: Credentials, *, linkable: bool) -> Ext2Inode:
        """Make an empty regular file without a name."""
        own = self._own(directory)
        return self.volume_writer.make_unnamed(own, mode, self._caller(caller, directory), linkable=linkable)

    def link(self, inode: VfsInode, directory: VfsInode, name: bytes) -> None:
        """Give a file one more name."""
        self.volume_writer.link(self._own(inode), self._own(directory), name)

    def unlink(self, directory: VfsInode, name: bytes) -> None:
        """Remove a name; what it named goes with its last name and its last open."""
        self.volume_writer.unlink(self._own(directory), name)

    def rmdir(self, directory: VfsInode, name: bytes) -> None:
        """Remove a directory."""
        self.volume_writer.rmdir(self._own(directory), name)

    def rename(self, old_directory: VfsInode, old_name: bytes, new_directory: VfsInode, new_name: bytes) -> None:
        """Move a name, over what the new one names, if anything."""
        self.volume_writer.rename(self._own(old_directory), old_name, self._own(new_directory), new_name)

    def open_writable(self, inode: VfsInode) -> WritableFileOperations:
        """Open a regular file, for writing too."""
        own = self._own(inode)
        opened = self._open_file(self.volume_writer, own)
        self.volume_writer.hold(own)
        return opened

    def set_attributes(self, inode: VfsInode, change: InodeChange) -> None:
        """Set permission bits, owners and times."""
        self.volume_writer.set_attributes(self._own(inode), change)

    def accessed(self, inode: VfsInode, now: int) -> None:
        """Set the time of the last read."""
        own = self._own(inode)
        own.atime = now
        self.volume_writer.volume.mark_inode_dirty(own)

    def set_xattr(self, inode: VfsInode, name: bytes, value: bytes | None, flags: int = 0) -> None:
        """Set an extended attribute, or remove it where `value` is None."""
        self.volume_writer.attributes.set(self._own(inode), name, value, flags)

    def sync(self) -> None:
        """Write everything that was changed: data first, then what leads to it."""
        self._pages.write_back()
        self.volume_writer.volume.sync()

    def _caller(self, user: Credentials, directory: VfsInode | None = None) -> Caller:
        group = self._reserved_gid
        privileged = user.privileged or user.uid == self._reserved_uid or (group != 0 and user.in_group(group))
        gid = directory.gid if directory is not None and self._group_of_directory else user.gid
        return Caller(user.uid, gid, privileged)

    def close(self) -> None:
        """Write everything, and end writing: the volume is as clean as it was before."""
        self._pages.write_back()
        self.volume_writer.close()


def number_option(options: Sequence[str], name: str, default: int) -> int:
    """Return the number that the last option `name=` gives, or the default."""
    given = [option.partition("=")[2] for option in options if option.startswith(f"{name}=")]
    return int(given[-1]) if given else default

"""Names of AF_UNIX sockets: those of files, and abstract ones, which begin with a zero byte (net/unix/af_unix.c)."""

import os
import stat
from errno import EADDRINUSE, ECONNREFUSED, EEXIST, EINVAL
from itertools import count

from dcss.errors import KernelError
from vmguest.credentials import MAY_WRITE
from vmguest.fs.filesystem import FileSystem
from vmguest.fs.mount import Dentry
from vmguest.fs.namei import Vfs, existing, mknod
from vmguest.fs.permission import check
from vmguest.fs.unix_socket import SocketMemory, UnixSocket

MOST_BYTES = 108  # of sun_path
_MODE = 0o777


class SocketNames:
    """Which sockets of a guest have which names, and what they may have on its way."""

    def __init__(self) -> None:
        self.memory = SocketMemory()
        self._abstract: dict[tuple[int, bytes], UnixSocket] = {}  # each kind of sockets has names of its own
        self._files: dict[tuple[FileSystem, int], UnixSocket] = {}
        self._numbers = count()

    def bind(self, vfs: Vfs, socket: UnixSocket, name: bytes, start: Dentry) -> None:
        """Give a socket a name: a file's path, zero and any bytes, or with an empty one a name that nobody has.

        Raises KernelError: EINVAL it has a name, EADDRINUSE, and what making a file raises.
        """
        if not name or name.startswith(b"\0"):
            self._bind_abstract(socket, name)
            return
        path = name.split(b"\0", 1)[0]
        if socket.name and existing(vfs, path, follow=False, start=start) is None:
            raise KernelError(EINVAL, "the socket has a name")
        try:
            mknod(vfs, path, stat.S_IFSOCK | _MODE, (0, 0), start)
        except KernelError as error:
            raise (KernelError(EADDRINUSE, str(error)) if error.errno == EEXIST else error) from error
        self._add_file(vfs.resolve(path, start=start), socket)
        socket.name = path + b"\0"

    def _bind_abstract(self, socket: UnixSocket, name: bytes) -> None:
        if socket.name:
            raise KernelError(EINVAL, "the socket has a name")
        if not name:
            free = (b"\0%05x" % number for number in self._numbers)
            name = next(each for each in free if (socket.kind, each) not in self._abstract)
        key = socket.kind, name
        if key in self._abstract:
            raise KernelError(EADDRINUSE, f"another socket has the name {name!r}")
        self._abstract[key] = socket
        socket.name, socket.unbind = name, lambda: self._forget(key)

    def find(self, vfs: Vfs, name: bytes, start: Dentry, kind: int) -> UnixSocket:
        """Return the socket of a name; with an abstract one, that of a kind.

        Raises KernelError: ECONNREFUSED there is none, EINVAL no name, ENOENT, EACCES.
        """
        if not name:
            raise KernelError(EINVAL, "an address without a name")
        if name.startswith(b"\0"):
            found = self._abstract.get((kind, name))
        else:
            dentry = vfs.resolve(name.split(b"\0", 1)[0], start=start)
            check(dentry, vfs.user, MAY_WRITE)
            found = self._files.get((dentry.mount.file_system, dentry.inode.number))
        if found is None:
            raise KernelError(ECONNREFUSED, f"{os.fsdecode(name)!r}: no socket has this name")
        return found

    def _add_file(self, place: Dentry, socket: UnixSocket) -> None:
        """Have a file stand for a socket, and the mount kept, until the socket is closed."""
        file_system, inode = place.mount.file_system, place.inode
        file_system.hold(inode)
        place.hold()
        self._files[file_system, inode.number] = socket

        def unbind() -> None:
            del self._files[file_system, inode.number]
            file_system.release(inode)
            place.release()

        socket.unbind = unbind

    def _forget(self, key: tuple[int, bytes]) -> None:
        self._abstract.pop(key, None)

"""Where a control socket is, and who is at its other end."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from dcss.rpc.protocol import SOCKET_NAME

_UCRED = Struct("iII")


class Peer(NamedTuple):
    """struct ucred of unix(7): who connected or, for a client, who listened."""

    pid: int
    uid: int
    gid: int


@contextmanager
def socket_path(directory: Path) -> Iterator[str]:
    """Give the control socket in `directory` a path that fits into sun_path's 108 bytes, however long its own is."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def peer_of(sock: socket.socket) -> Peer:
    """Return the process at the other end of a connected socket, as the kernel knows it."""
    return Peer._make(_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def connected(directory: Path) -> socket.socket:
    """Connect to the control socket in `directory`. Raises BlockingIOError if its queue of clients is full."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with socket_path(directory) as path:
            sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock

"""A FUSE file system of one file that stops to answer when it is told to, spoken to the kernel without a library.

This file is both sides: imported by a test it mounts and unmounts, executed it is the file system. Protocol:
include/uapi/linux/fuse.h of Linux, version 7.31.
"""

import ctypes
import os
import select
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT, ENOSYS
from pathlib import Path
from tempfile import TemporaryDirectory

FILE_NAME = "file"
FILE_BYTES = 1 << 16
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _STATFS, _RELEASE, _FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
_INIT, _OPENDIR, _RELEASEDIR, _ACCESS, _INTERRUPT, _BATCH_FORGET = 26, 27, 29, 34, 36, 42
_REQUEST = struct.Struct("=IIQQIIII")
_REPLY = struct.Struct("=IiQ")
_REQUEST_BYTES = 1 << 17
_ROOT, _FILE = 1, 2
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


class SilentFuse:
    """The mounted file system."""

    def __init__(self, directory: Path, process: "subprocess.Popen[bytes]") -> None:
        self.directory = directory
        self.path = directory / FILE_NAME
        self._process = process

    def be_silent(self) -> None:
        """Answer nothing from now on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"silence\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == b"silent\n"

    def unmount(self) -> None:
        """Take it out of the tree of mounts; what is open stays open."""
        _libc.umount2(os.fsencode(self.directory), _MNT_DETACH)

    def end(self) -> None:
        """End it: whoever waits for an answer gets an error, and goes on."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def silent_fuse() -> Iterator[SilentFuse]:
    """Mount the file system for all users, and end it and whatever waits for it."""
    with TemporaryDirectory(prefix="dcss-fuse-") as name:
        Path(name).chmod(0o755)
        process = subprocess.Popen([sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        fuse = SilentFuse(Path(name), process)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mounted\n"
            yield fuse
        finally:
            fuse.end()
            fuse.unmount()


def _attributes(node: int) -> bytes:
    mode, size = (0o40755, 0) if node == _ROOT else (0o100644, FILE_BYTES)
    return struct.pack("=6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _answer(opcode: int, node: int, body: bytes) -> bytes | int | None:
    """Return what to answer: bytes, an errno, or None for nothing. No attribute is valid for any time."""
    if opcode in {_FORGET, _BATCH_FORGET, _INTERRUPT}:
        return None
    if opcode == _LOOKUP and body.rstrip(b"\0") != FILE_NAME.encode():
        return ENOENT
    opened = struct.pack("=QII", 1, 0, 0)
    answers = {
        _INIT: struct.pack("=IIIIHHIIHHI7I", 7, 31, 0, 0, 8, 8, 1 << 16, 1, 0, 0, 0, *[0] * 7),
        _LOOKUP: struct.pack("=QQQQII", _FILE, 0, 0, 0, 0, 0) + _attributes(_FILE),
        _GETATTR: struct.pack("=QII", 0, 0, 0) + _attributes(node),
        _OPEN: opened,
        _OPENDIR: opened,
        _READ: bytes(FILE_BYTES)[: int(struct.unpack_from("=QQI", body)[2])] if opcode == _READ else b"",
        _STATFS: struct.pack("=5Q10I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6),
    }
    return answers.get(opcode, b"" if opcode in {_FLUSH, _RELEASE, _RELEASEDIR, _ACCESS} else ENOSYS)


def _serve(directory: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    if _libc.mount(b"silent", directory.encode(), b"fuse.silent", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {directory}")
    os.set_blocking(device, False)
    print("mounted", flush=True)
    silent = False
    while True:
        ready, _, _ = select.select([device, sys.stdin], [], [])
        if sys.stdin in ready:
            if not sys.stdin.readline():
                return
            silent = True
            print("silent", flush=True)
        if device in ready:
            with suppress(BlockingIOError, FileNotFoundError):  # interrupted before it was read
                request = os.read(device, _REQUEST_BYTES)
                _, opcode, unique, node, *_ = _REQUEST.unpack_from(request)
                answer = None if silent else _answer(opcode, node, request[_REQUEST.size :])
                if isinstance(answer, int):
                    os.write(device, _REPLY.pack(_REPLY.size, -answer, unique))
                elif answer is not None:
                    os.write(device, _REPLY.pack(_REPLY.size + len(answer), 0, unique) + answer)


if __name__ == "__main__":
    _serve(sys.argv[1])

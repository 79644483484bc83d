"""Plain processes that share files as other people's do: nothing of this project runs in them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

# Each word is VERB=PATH: what to do with that file. It says READY, and waits for the end of its input; SIGCONT is told.
_PROGRAM = r"""
import ctypes, mmap, os, signal, sys

kept = []
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
signal.signal(signal.SIGCONT, lambda *_: print("CONTINUED", flush=True))


def mapping(path, flags, protection):
    size = os.stat(path).st_size
    with open(path, "r+b" if flags == mmap.MAP_SHARED and protection & mmap.PROT_WRITE else "rb") as file:
        kept.append(mmap.mmap(file.fileno(), size, flags=flags, prot=protection))
    return kept[-1]


def touch(view):
    return sum(view[start] for start in range(0, len(view), mmap.PAGESIZE))


for word in sys.argv[1:]:
    verb, _, path = word.partition("=")
    if verb == "map":
        touch(mapping(path, mmap.MAP_SHARED, mmap.PROT_READ))
    elif verb == "untouched":
        mapping(path, mmap.MAP_SHARED, mmap.PROT_READ)
    elif verb == "private":
        touch(mapping(path, mmap.MAP_PRIVATE, mmap.PROT_READ))
    elif verb == "change":  # a byte of the first page, in a private mapping
        view = mapping(path, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        touch(view)
        view[0] ^= 0xFF
    elif verb == "rewrite":  # the same byte again: a copy of the first page
        view = mapping(path, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        touch(view)
        view[0] = view[0]
    elif verb == "copy":
        kept.append(open(path, "rb").read())
    elif verb == "mergeable":  # a copy that KSM may merge with others
        with open(path, "rb") as file:
            content = file.read()
        view = mmap.mmap(-1, len(content), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        view[:] = content
        view.madvise(mmap.MADV_MERGEABLE)
        kept.append(view)
        del content
    elif verb == "write":
        touch(mapping(path, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
    elif verb == "descriptor":  # an open file that was handed down, such as a memfd
        size = os.fstat(int(path)).st_size
        kept.append(mmap.mmap(int(path), size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ))
        touch(kept[-1])
        os.close(int(path))
    elif verb == "system_v":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        number, _, size = path.partition(":")
        address = libc.shmat(int(number), None, 0o10000)  # SHM_RDONLY
        touch((ctypes.c_ubyte * int(size)).from_address(address))
    elif verb == "fork":  # so many children that have touched shared memory which has no name
        view = mmap.mmap(-1, 64 * mmap.PAGESIZE)
        view[:] = os.urandom(len(view))
        kept.append(view)
        pids = []
        for _ in range(int(path)):
            pid = os.fork()
            if not pid:
                touch(view)
                os.kill(os.getppid(), signal.SIGUSR1)
                signal.pause()
            pids.append(pid)
            signal.sigwait({signal.SIGUSR1})
        print(*pids, flush=True)
    elif verb == "many":  # every second page of a file, each by a mapping of its own
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            for offset in range(0, size, 2 * mmap.PAGESIZE):
                place = {"flags": mmap.MAP_SHARED, "prot": mmap.PROT_READ, "offset": offset}
                kept.append(mmap.mmap(file.fileno(), mmap.PAGESIZE, **place))
                touch(kept[-1])
    else:
        raise SystemExit(f"no verb {verb}")
print("READY", flush=True)
sys.stdin.read()
"""


class Peer:
    """A process that has done what its words say, and waits."""

    def __init__(self, words: Sequence[str], *, prefix: Sequence[str] = (), **options: Any) -> None:
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [*prefix, sys.executable, "-I", "-S", "-c", _PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        assert self.line() == "READY"

    def line(self) -> str:
        """Return the next line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def kill(self) -> None:
        """End it at once, and wait until it has ended."""
        self._process.kill()
        self._process.communicate()

    def finish(self) -> str:
        """Let it end by itself; return what it has said since it was ready."""
        said, _ = self._process.communicate()
        return said


@contextmanager
def peers(*words: str | Sequence[str], **options: Any) -> Iterator[list[Peer]]:
    """Run a process for each of `words`: one word, or several; `options` are Popen's."""
    with ExitStack() as stack:
        found = []
        for each in words:
            found.append(Peer([each] if isinstance(each, str) else each, **options))
            stack.callback(found[-1].kill)
        for peer in found:
            peer.wait_ready()
        yield found


@contextmanager
def forking_peer(children: int) -> Iterator[tuple[Peer, list[int]]]:
    """Run a process that shares memory without a name with so many that it forked; yield it, and their ids."""
    server = Peer([f"fork={children}"])
    pids: list[int] = []
    try:
        pids = list(map(int, server.line().split()))
        server.wait_ready()
        yield server, pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        server.kill()

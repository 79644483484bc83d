"""Plain processes that share files as other people's do: nothing of this project runs in them."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

# Each word is VERB=PATH: what to do with that file. It says READY, and waits for the end of its input; SIGCONT is told.
_PROGRAM = r"""
import mmap, os, signal, sys

kept = []
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
    elif verb == "write":
        touch(mapping(path, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
    else:
        raise SystemExit(f"no verb {verb}")
print("READY", flush=True)
sys.stdin.read()
"""


class Peer:
    """A process that has done what its words say, and waits."""

    def __init__(self, words: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "READY\n"

    def kill(self) -> None:
        """End it at once, and wait until it has ended."""
        self._process.kill()
        self._process.communicate()

    def finish(self) -> str:
        """Let it end by itself; return what it has said since it was ready."""
        said, _ = self._process.communicate()
        return said


@contextmanager
def peers(*words: str | Sequence[str]) -> Iterator[list[Peer]]:
    """Run a process for each of `words`: one word, or several."""
    with ExitStack() as stack:
        found = []
        for each in words:
            found.append(Peer([each] if isinstance(each, str) else each))
            stack.callback(found[-1].kill)
        for peer in found:
            peer.wait_ready()
        yield found

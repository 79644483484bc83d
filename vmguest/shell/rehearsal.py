"""Commands run once for nothing, in a guest that will be cloned: what a first run writes, its clones then share."""

from itertools import islice

from vmguest.kernel import Kernel
from vmguest.shell.shell import Shell
from vmguest.workload import matches

_LOOKED_AT = 100  # files, for one that is small
_SMALL_BYTES = 256 << 10


def rehearse_commands(kernel: Kernel, pattern: str) -> None:
    """List the directory of a small file that matches, print the file and digest it: the guest has looked at both.

    Nothing of the guest's changes by that. It is left out where / is in real storage: a shell makes files there.
    """
    if kernel.vfs.on_rootfs(kernel.vfs.root()):
        return
    for dentry in islice(matches(kernel.vfs, pattern), _LOOKED_AT):
        directory = dentry.parent or dentry
        if dentry.inode.size_bytes <= _SMALL_BYTES and directory.inode.size_bytes <= _SMALL_BYTES:
            for words in ((b"ls", b"-l", directory.path), (b"cat", dentry.path), (b"sha256sum", dentry.path)):
                Shell(kernel).run(words, _discard, _discard)
            return


def _discard(data: bytes | memoryview) -> None:
    """Take output that nobody is to see."""

"""One QEMU guest: it says MOUNTED, reads every file when it is told to, and says READ."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.framework.rounds import Unavailable
from benchmarks.framework.served import tied

QEMU = "qemu-system-x86_64"
PMEM_STEP_BYTES = 2 << 20  # the guest kernel wants a device of whole pages of 2 MiB
MEMORY = "256M"
MOST_SECONDS = 120
DISKS = {
    "pmem": (
        "-object memory-backend-file,id=disk,share=on,readonly=on,mem-path={path},size={size}",
        "-device virtio-pmem-pci,memdev=disk",
    ),
    "blk": ("-drive file={path},format=raw,if=none,id=disk,readonly=on", "-device virtio-blk-pci,drive=disk"),
}


def check_qemu() -> None:
    """Raise Unavailable where QEMU is not installed."""
    if shutil.which(QEMU) is None:
        raise Unavailable(f"{QEMU} is not installed")


class MachineFiles(NamedTuple):
    """What a guest boots, and the image of its disk."""

    kernel: Path
    initramfs: Path
    image: Path


class VirtualMachine:
    """A guest that has mounted its disk."""

    def __init__(self, files: MachineFiles, kind: str, errors: IO[str], *, append: str = "") -> None:
        image = files.image
        size_bytes = image.stat().st_size
        disk = [option.format(path=image, size=size_bytes) for option in DISKS[kind]]
        # Not KVM, which hangs in virtual machines whose host does not nest; memory is the same without.
        options = "-accel tcg -nodefaults -no-user-config -display none -serial stdio -no-reboot"
        memory = f"-m {MEMORY},slots=2,maxmem=4G"
        words = f"{options} {memory} {' '.join(disk)} -kernel {files.kernel} -initrd {files.initramfs}".split()
        self._errors = errors
        self._process = subprocess.Popen(
            [*tied(), QEMU, *words, "-append", f"console=ttyS0 quiet loglevel=0 panic=-1 {append}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, word: str) -> None:
        """Read the console until the guest says a word. Raises RuntimeError if it ends before, or says nothing."""
        assert self._process.stdout is not None
        seen = []
        hung = threading.Timer(MOST_SECONDS, self._process.kill)
        hung.start()
        try:
            for line in self._process.stdout:
                if line.strip().endswith(word):
                    return
                seen.append(line)
        finally:
            hung.cancel()
        self._errors.seek(0)
        raise RuntimeError(f"{QEMU} ended before its guest said {word}: {self._errors.read()}{''.join(seen[-20:])}")

    def tell(self) -> None:
        """Let the guest go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End the guest."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def machines(count: int, files: MachineFiles, kind: str, *, append: str = "") -> Iterator[list[VirtualMachine]]:
    """Run guests that have mounted the same image; `append` is more of their kernels' command line."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            found.append(VirtualMachine(files, kind, errors, append=append))
            stack.callback(found[-1].close)
        for machine in found:
            machine.wait_for("MOUNTED")
        yield found

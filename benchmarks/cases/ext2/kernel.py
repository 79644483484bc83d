# ruff: noqa: PTH102, PTH116 - what is timed is the system call
"""File systems that this machine mounts: the kernel's by a loop device, and fuse2fs."""

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cases.ext2.subject import LARGE_BYTES, READS, SMALL_FILES, Subject, Work
from benchmarks.framework.rounds import Unavailable


class KernelMount(Subject):
    """A mount of this machine, read and written by system calls."""

    name = "loop mount"

    @contextmanager
    def mounted(self) -> Iterator[float]:
        with tempfile.TemporaryDirectory() as directory:
            self.check()
            try:
                began = time.perf_counter()
                self.attach(directory)
                seconds = time.perf_counter() - began
                self.top = Path(directory)
                yield seconds
            finally:
                if Path(directory).is_mount():  # also where a signal came just after it was mounted
                    subprocess.run(["umount", directory], check=True)

    def check(self) -> None:
        """Raise Unavailable where this machine cannot mount it."""
        if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
            raise Unavailable("needs root and loop devices")

    def attach(self, directory: str) -> None:
        subprocess.run(["mount", "-t", "ext2", "-o", "loop", self.image, directory], check=True)

    def works(self) -> Iterator[tuple[str, Work]]:
        yield from super().works()
        yield "create small files", self.create
        yield "write a large file", self.write_large

    def walk(self) -> int:
        found = 0
        for directory, names, files in os.walk(self.top):
            for name in (*names, *files):
                found += os.lstat(f"{directory}/{name}").st_size >= 0
        return found

    def look_up(self) -> None:
        top = str(self.top)
        for path in self.paths:
            os.stat(top + path)

    def read_all(self) -> int:
        done = 0
        buffer = bytearray(1 << 20)
        for path in self.paths:
            with open(f"{self.top}{path}", "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    done += count
        return done

    def read_random(self) -> None:
        buffer = bytearray(4096)
        descriptor = os.open(f"{self.top}{self.large}", os.O_RDONLY)
        size = os.fstat(descriptor).st_size
        random.seed(1)
        for _ in range(READS):
            os.preadv(descriptor, [buffer], random.randrange(size // 4096) * 4096)
        os.close(descriptor)

    def read_large(self) -> None:
        buffer = bytearray(1 << 20)
        with open(f"{self.top}{self.large}", "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def create(self) -> None:
        os.mkdir(self.top / "new")
        top = f"{self.top}/new"
        for number in range(SMALL_FILES):
            descriptor = os.open(f"{top}/file-{number}", os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, b"small content\n")
            os.close(descriptor)
        os.sync()

    def write_large(self) -> None:
        data = bytes(range(256)) * 4096
        descriptor = os.open(f"{self.top}/written", os.O_WRONLY | os.O_CREAT)
        for _ in range(LARGE_BYTES // len(data)):
            os.write(descriptor, data)
        os.fsync(descriptor)
        os.close(descriptor)


class Fuse2fs(KernelMount):
    """The file system of e2fsprogs in user space."""

    name = "fuse2fs"

    def check(self) -> None:
        if not shutil.which("fuse2fs") or not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise Unavailable("needs fuse2fs and /dev/fuse")

    def attach(self, directory: str) -> None:
        subprocess.run(["fuse2fs", self.image, directory], check=True, stderr=subprocess.DEVNULL)

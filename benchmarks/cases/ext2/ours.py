"""This project's ext2 library, over a mapping of the image."""

import mmap
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.cases.ext2.subject import LARGE_BYTES, READS, SMALL_FILES, Subject, Work
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from dcss.ext2.write.writer import VolumeWriter


class Ours(Subject):
    """This project's library, over a mapping of the image."""

    name = "dcss"

    @contextmanager
    def mounted(self) -> Iterator[float]:
        with self.image.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            began = time.perf_counter()
            self.source = BufferSource(mapped, writable=True)
            self.volume = Volume.mount(self.source, read_only=False)
            seconds = time.perf_counter() - began
            writer = self.writer = VolumeWriter(self.volume)
            try:
                yield seconds
            finally:
                writer.close()
                del self.volume, self.writer, writer
                self.source.close()

    def works(self) -> Iterator[tuple[str, Work]]:
        yield from super().works()
        yield "create small files", self.create
        yield "write a large file", self.write_large

    def walk(self) -> int:
        found = 0
        for _, inode in self.volume.walk():
            found += inode.size_bytes >= 0
        return found

    def look_up(self) -> None:
        resolve = self.volume.resolve
        for path in self.paths:
            resolve(path.encode())

    def _pieces(self, path: str) -> Iterator[memoryview]:
        inode = self.volume.resolve(path.encode())
        left = inode.size_bytes
        for run in self.volume.runs(inode):
            size = min(left, run.blocks * 4096)
            if run.disk_block:
                yield self.source.bytes_at(run.disk_block * 4096, size)
            else:
                yield memoryview(bytes(size))
            left -= size

    def read_all(self) -> int:
        done = 0
        buffer = memoryview(bytearray(1 << 20))
        for path in self.paths:
            for piece in self._pieces(path):
                for start in range(0, len(piece), len(buffer)):
                    part = piece[start : start + len(buffer)]
                    buffer[: len(part)] = part
                    done += len(part)
        return done

    def read_random(self) -> None:
        buffer = memoryview(bytearray(4096))
        inode = self.volume.resolve(self.large.encode())
        random.seed(1)
        for _ in range(READS):
            block = self.volume.get_block(inode, random.randrange(inode.size_bytes // 4096))
            buffer[:] = self.source.bytes_at(block * 4096, 4096)

    def read_large(self) -> None:
        buffer = memoryview(bytearray(1 << 20))
        for piece in self._pieces(self.large):
            for start in range(0, len(piece), len(buffer)):
                part = piece[start : start + len(buffer)]
                buffer[: len(part)] = part

    def create(self) -> None:
        directory = self.writer.mkdir(self.volume.root(), b"new")
        for number in range(SMALL_FILES):
            inode = self.writer.create(directory, b"file-%d" % number)
            self.writer.files.write(inode, 0, b"small content\n")
        self.volume.sync()

    def write_large(self) -> None:
        data = bytes(range(256)) * 4096
        inode = self.writer.create(self.volume.root(), b"written")
        for number in range(LARGE_BYTES // len(data)):
            self.writer.files.write(inode, number * len(data), data)
        self.volume.sync()

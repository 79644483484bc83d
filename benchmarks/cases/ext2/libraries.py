"""Other libraries: libfsext in C, dissect.extfs in Python."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.cases.ext2.subject import READS, Subject
from benchmarks.framework.rounds import Unavailable


class LibFsExt(Subject):
    """libfsext, a C library, by its Python binding."""

    name = "libfsext"

    @contextmanager
    def mounted(self) -> Iterator[float]:
        try:
            import pyfsext
        except ImportError as error:
            raise Unavailable("libfsext-python is not installed") from error
        began = time.perf_counter()
        self.volume = pyfsext.volume()
        self.volume.open(str(self.image))
        seconds = time.perf_counter() - began
        try:
            yield seconds
        finally:
            self.volume.close()

    def walk(self) -> int:
        found = 0
        left = [self.volume.get_root_directory()]
        while left:
            for entry in left.pop().sub_file_entries:
                found += entry.size >= 0
                if entry.file_mode & 0o170000 == 0o040000:
                    left.append(entry)
        return found

    def look_up(self) -> None:
        for path in self.paths:
            assert self.volume.get_file_entry_by_path(path).size >= 0

    def read_all(self) -> int:
        done = 0
        for path in self.paths:
            entry = self.volume.get_file_entry_by_path(path)
            while piece := entry.read_buffer(1 << 20):
                done += len(piece)
        return done

    def read_random(self) -> None:
        entry = self.volume.get_file_entry_by_path(self.large)
        size = entry.size
        random.seed(1)
        for _ in range(READS):
            entry.read_buffer_at_offset(4096, random.randrange(size // 4096) * 4096)

    def read_large(self) -> None:
        entry = self.volume.get_file_entry_by_path(self.large)
        while entry.read_buffer(1 << 20):
            pass


class Dissect(Subject):
    """dissect.extfs, in pure Python."""

    name = "dissect"

    @contextmanager
    def mounted(self) -> Iterator[float]:
        try:
            from dissect.extfs.extfs import ExtFS
        except ImportError as error:
            raise Unavailable("dissect.extfs is not installed") from error
        with self.image.open("rb") as file:
            began = time.perf_counter()
            self.volume: Any = ExtFS(file)
            yield time.perf_counter() - began

    def walk(self) -> int:
        found = 0
        left = [self.volume.get("/")]
        while left:
            for name, node in left.pop().listdir().items():
                if name not in {".", ".."}:
                    found += node.size >= 0
                    if node.filetype == 0o040000:
                        left.append(node)
        return found

    def look_up(self) -> None:
        for path in self.paths:
            assert self.volume.get(path).size >= 0

    def read_all(self) -> int:
        done = 0
        for path in self.paths:
            stream = self.volume.get(path).open()
            while piece := stream.read(1 << 20):
                done += len(piece)
        return done

    def read_random(self) -> None:
        stream = self.volume.get(self.large).open()
        size = stream.size
        random.seed(1)
        for _ in range(READS):
            stream.seek(random.randrange(size // 4096) * 4096)
            stream.read(4096)

    def read_large(self) -> None:
        stream = self.volume.get(self.large).open()
        while stream.read(1 << 20):
            pass

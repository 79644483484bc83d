# ruff: noqa: PTH102, PTH116 - what is timed is the system call
"""Reading and writing ext2: ours beside the kernel's loop mount, fuse2fs, libfsext and dissect.extfs, on one image.

About 200 MiB of this machine's libraries and a Python tree are put into an image by mke2fs -d. Each subject mounts a
copy of it and does the same work; what one cannot do is left out of its row. Kernel mounts need root, fuse2fs its
Debian package, libfsext-python and dissect.extfs a `pip install`. Subjects take turns; the best of the rounds counts,
since other work on the machine can only slow a round down. Ratios are to the loop mount: below 1 is faster than the
kernel, seen from a Python program. The system's caches are warm throughout; `cold` means that the subject was just
mounted.

    python benchmarks/ext2.py [ROUNDS [MEBIBYTES]]
"""

import mmap
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from image_build import copy_tree  # type: ignore[import-not-found]  # noqa: E402

from dcss.ext2.source import BufferSource  # noqa: E402
from dcss.ext2.volume import Volume  # noqa: E402
from dcss.ext2.write.writer import VolumeWriter  # noqa: E402

SPARE_BYTES = 128 << 20
SMALL_FILES = 2000
LARGE_BYTES = 64 << 20
READS = 5000
Work = Callable[[], object]


class Subject(ABC):
    """One implementation; `works` are timed in turn after `mount`, each a name and what to do."""

    name = ""

    def __init__(self, image: Path, paths: list[str]) -> None:
        self.image = image
        self.paths = paths
        self.large = max(paths, key=lambda path: path.endswith("large.bin"))

    def works(self) -> Iterator[tuple[str, Work]]:
        """Yield what is timed."""
        yield "cold walk with stat", self.walk
        yield "warm walk with stat", self.walk
        yield "cold lookups", self.look_up
        yield "warm lookups", self.look_up
        yield "read the whole tree", self.read_all
        yield "4 KiB random reads", self.read_random
        yield "sequential read", self.read_large

    @abstractmethod
    def mounted(self) -> AbstractContextManager[float]:
        """Mount, and yield how long that took."""

    @abstractmethod
    def walk(self) -> int: ...

    @abstractmethod
    def look_up(self) -> None: ...

    @abstractmethod
    def read_all(self) -> int: ...

    @abstractmethod
    def read_random(self) -> None: ...

    @abstractmethod
    def read_large(self) -> None: ...


class KernelMount(Subject):
    """A mount of this machine, read and written by system calls."""

    name = "loop mount"

    @contextmanager
    def mounted(self) -> Iterator[float]:
        with tempfile.TemporaryDirectory() as directory:
            began = time.perf_counter()
            self.attach(directory)
            seconds = time.perf_counter() - began
            self.top = Path(directory)
            try:
                yield seconds
            finally:
                subprocess.run(["umount", directory], check=True)

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

    def attach(self, directory: str) -> None:
        subprocess.run(["fuse2fs", self.image, directory], check=True, stderr=subprocess.DEVNULL)


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


class LibFsExt(Subject):
    """libfsext, a C library, by its Python binding."""

    name = "libfsext"

    @contextmanager
    def mounted(self) -> Iterator[float]:
        import pyfsext  # type: ignore[import-not-found, unused-ignore]

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
        from dissect.extfs.extfs import ExtFS  # type: ignore[import-not-found, import-untyped, unused-ignore]

        with self.image.open("rb") as file:
            began = time.perf_counter()
            self.volume: Any = ExtFS(file)
            yield time.perf_counter() - began

    def works(self) -> Iterator[tuple[str, Work]]:
        yield from ((name, work) for name, work in super().works() if name != "read the whole tree")

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


def available() -> list[type[Subject]]:
    """Return the subjects that can run here, and say which cannot, and why."""
    subjects: list[type[Subject]] = [Ours]
    if os.geteuid() == 0 and Path("/dev/loop-control").exists():
        subjects.insert(0, KernelMount)
    else:
        print("loop mount: left out, needs root and loop devices")
    if shutil.which("fuse2fs") and Path("/dev/fuse").exists():
        subjects.append(Fuse2fs)
    else:
        print("fuse2fs: left out, not installed")
    for subject, module in ((LibFsExt, "pyfsext"), (Dissect, "dissect.extfs")):
        try:
            __import__(module)
        except ImportError:
            print(f"{subject.name}: left out, not installed")
        else:
            subjects.append(subject)
    return subjects


def make_image(directory: Path, mebibytes: int) -> tuple[Path, list[str]]:
    """Make the image of a tree; return it and the paths of its regular files."""
    tree = directory / "tree"
    copy_tree(tree / "usr", (mebibytes - 32) << 20)
    with (tree / "large.bin").open("wb") as large:
        for number in range(32):
            large.write(bytes([number + 1]) * (1 << 20))
    paths = [f"/{path.relative_to(tree)}" for path in sorted(tree.rglob("*")) if S_ISREG(path.lstat().st_mode)]
    image = directory / "image"
    size = f"{mebibytes + (SPARE_BYTES >> 20)}M"
    options: list[str | Path] = ["-q", "-F", "-t", "ext2", "-b", "4096", "-O", "^resize_inode,^dir_index", "-d", tree]
    subprocess.run(
        [shutil.which("mke2fs", path=f"{os.environ['PATH']}:/sbin") or "mke2fs", *options, image, size], check=True
    )
    return image, paths


def measure(subject: Subject, into: dict[str, list[float]]) -> None:
    """Time everything that a subject does, once."""
    with ExitStack() as stack:
        into.setdefault("mount", []).append(stack.enter_context(subject.mounted()))
        for name, work in subject.works():
            if name == "cold lookups":
                stack.close()
                stack.enter_context(subject.mounted())
            began = time.perf_counter()
            work()
            into.setdefault(name, []).append(time.perf_counter() - began)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    mebibytes = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    subjects = available()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        image, paths = make_image(Path(directory), mebibytes)
        print(f"{len(paths)} files, {mebibytes} MiB, {rounds} rounds\n")
        times: dict[str, dict[str, list[float]]] = {}
        for _ in range(rounds):
            for kind in subjects:
                copy = Path(directory, "copy")
                shutil.copyfile(image, copy)
                measure(kind(copy, paths), times.setdefault(kind.name, {}))
        report(times)


def report(times: dict[str, dict[str, list[float]]]) -> None:
    """Print the best of each, its ratio to the loop mount (or to ours), and the spread of the rounds."""
    reference = "loop mount" if "loop mount" in times else "dcss"
    rows = list(dict.fromkeys(name for each in times.values() for name in each))
    print(f"{'milliseconds':22}" + "".join(f"{name:>24}" for name in times))
    for row in rows:
        cells = []
        for each in times.values():
            if row not in each:
                cells.append(f"{'-':>24}")
                continue
            best = min(each[row])
            base = min(times[reference][row]) if row in times[reference] else best
            spread = statistics.median(each[row]) / best
            cells.append(f"{best * 1000:10.1f} {best / base:6.2f}x ±{(spread - 1) * 100:3.0f}%")
        print(f"{row:22}" + "".join(cells))


if __name__ == "__main__":
    main()

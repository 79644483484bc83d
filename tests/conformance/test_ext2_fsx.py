"""One file, thousands of random reads, writes, cuts and mappings, against bytes and against this machine's kernel."""

import mmap
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Protocol

import pytest
from cp_support import control_program
from ext2_support import e2fs
from ext2_tree_support import loop_mount
from guest_support import definition, fill_with, guest_kernel
from needs_support import needs

from dcss.abi.page import PAGE_SIZE
from vmguest.fs.open import O_CREAT, O_RDWR, open_file
from vmguest.mm_area import PROT_READ, PROT_WRITE

pytestmark = needs("mke2fs", "e2fsck")
LARGEST_BYTES = 400_000
STEPS = 3000


class Subject(Protocol):
    """An open file that operations are done on."""

    def read(self, position: int, size: int) -> bytes: ...
    def write(self, position: int, data: bytes) -> None: ...
    def truncate(self, size: int) -> None: ...
    def map_read(self, first: int, pages: int) -> bytes: ...
    def map_write(self, position: int, data: bytes) -> None: ...


class Bytes:
    """The model."""

    def __init__(self) -> None:
        self.data = bytearray()

    def read(self, position: int, size: int) -> bytes:
        return bytes(self.data[position : position + size])

    def write(self, position: int, data: bytes) -> None:
        self.data.extend(bytes(max(0, position - len(self.data))))
        self.data[position : position + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))

    def map_read(self, first: int, pages: int) -> bytes:
        """Pages of the file; the last one ends in zeros."""
        data = self.data[first * PAGE_SIZE : (first + pages) * PAGE_SIZE]
        return bytes(data.ljust(-(-len(data) // PAGE_SIZE) * PAGE_SIZE, b"\0"))

    def map_write(self, position: int, data: bytes) -> None:
        self.data[position : position + len(data)] = data


class HostFile:
    """A file on this machine's kernel."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def read(self, position: int, size: int) -> bytes:
        return os.pread(self.descriptor, size, position)

    def write(self, position: int, data: bytes) -> None:
        assert os.pwrite(self.descriptor, data, position) == len(data)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.descriptor, size)

    def map_read(self, first: int, pages: int) -> bytes:
        size = os.fstat(self.descriptor).st_size
        length = min(pages * PAGE_SIZE, size - first * PAGE_SIZE)  # Python maps nothing behind the end
        if length <= 0:
            return b""
        with mmap.mmap(self.descriptor, length, offset=first * PAGE_SIZE, prot=mmap.PROT_READ) as mapped:
            return mapped[:].ljust(-(-length // PAGE_SIZE) * PAGE_SIZE, b"\0")

    def close(self) -> None:
        os.close(self.descriptor)

    def map_write(self, position: int, data: bytes) -> None:
        first = position // PAGE_SIZE
        with mmap.mmap(self.descriptor, position + len(data) - first * PAGE_SIZE, offset=first * PAGE_SIZE) as mapped:
            mapped[position - first * PAGE_SIZE :] = data


@contextmanager
def guest_file(image: Path, options: tuple[str, ...]) -> Iterator[Subject]:
    """A file of a guest, with one shared mapping that stays; what was written is in `image` afterwards."""
    with control_program() as cp:
        cp.publish(definition("RW", "30000-307FF SW"), fill_with(image.read_bytes()))
        with guest_kernel(cp) as kernel:
            kernel.dcssblk.load_module("RW")
            kernel.mount("dcssblk0", "/", options)
            task = kernel.new_task()
            with open_file(kernel.vfs, b"/file", O_RDWR | O_CREAT) as opened:
                pages = LARGEST_BYTES // PAGE_SIZE + 1
                address = task.mm.map(opened, 0, pages, PROT_READ | PROT_WRITE)

                class GuestFile:
                    def read(self, position: int, size: int) -> bytes:
                        buffer = memoryview(bytearray(size))
                        return bytes(buffer[: opened.pread(buffer, position)])

                    def write(self, position: int, data: bytes) -> None:
                        assert opened.pwrite(data, position) == len(data)

                    def truncate(self, size: int) -> None:
                        opened.truncate(size)

                    def map_read(self, first: int, pages: int) -> bytes:
                        end = -(-opened.file.size_bytes // PAGE_SIZE)
                        within = max(0, min(pages, end - first))
                        return task.mm.read(address + first * PAGE_SIZE, within * PAGE_SIZE)

                    def map_write(self, position: int, data: bytes) -> None:
                        task.mm.write(address + position, data)

                yield GuestFile()
            kernel.end_task(task)
            kernel.vfs.umount(b"/")
            device = kernel.dcssblk.devices[0]
            image.write_bytes(device.direct_access(device.open(), 0, device.size_bytes).view())


def exercise(subject: Subject, random: Random, steps: int) -> None:
    """Do random operations on a subject and on the model, and compare what each read returns."""
    model = Bytes()
    for step in range(steps):
        size = len(model.data)
        kind = random.choice(["read", "write", "write", "truncate", "map_read", "map_write", "hole"])
        position = random.choice([0, random.randrange(LARGEST_BYTES), max(0, size - random.randrange(1, 5000))])
        length = min(random.choice([1, 100, 4096, 30_000]), LARGEST_BYTES - position)
        data = random.randbytes(length)
        if kind in {"read", "map_read"}:
            words = (position, length) if kind == "read" else (position // PAGE_SIZE, length // PAGE_SIZE + 1)
            assert getattr(subject, kind)(*words) == getattr(model, kind)(*words), (step, kind, words)
        elif kind == "truncate":
            subject.truncate(position)
            model.truncate(position)
        elif kind == "hole":  # cut, and grow over it: what was there reads as zeros
            for each in (subject, model):
                each.truncate(min(position, size))
                each.truncate(size)
        elif kind == "write" or position + length <= size:
            getattr(subject, kind)(position, data)
            getattr(model, kind)(position, data)
    assert subject.read(0, LARGEST_BYTES) == model.data


def make_image(path: Path) -> Path:
    e2fs("mke2fs", "-q", "-F", "-t", "ext2", "-b", "4096", "-O", "^resize_inode", path, "8M")
    return path


@pytest.mark.parametrize("options", [("rw", "xip"), ("rw",)], ids="-".join)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_guests_file_is_what_was_written(seed: int, options: tuple[str, ...], tmp_path: Path) -> None:
    image = make_image(tmp_path / "image")
    with guest_file(image, options) as subject:
        exercise(subject, Random(seed), STEPS)
    e2fs("e2fsck", "-fn", image)


@needs("loop")
def test_the_kernels_file_passes_the_same(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image")
    with loop_mount(image) as directory, closing(HostFile(directory / "file")) as file:
        exercise(file, Random(1), STEPS)

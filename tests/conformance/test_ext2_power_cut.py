"""Power cut after every single store to the device: e2fsck mends what is there, and no file is lost that was synced."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ext2_support import content, make_image
from needs_support import needs, tool

from dcss.abi.page import PAGE_SIZE
from dcss.ext2.inode import InodeChange
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from dcss.ext2.write.writer import VolumeWriter

KEPT = {b"/kept": b"k" * 3000, b"/directory/inner": b"i" * 20_000, b"/linked": b"one of two"}
pytestmark = needs("e2fsck")


class RecordingSource(BufferSource):
    """A device that keeps a copy of itself after each store."""

    __slots__ = ("copies", "data")

    def __init__(self, data: bytearray) -> None:
        super().__init__(data, writable=True)
        self.data = data
        self.copies: list[bytes] = []

    def write(self, offset: int, data: bytes | memoryview) -> None:
        super().write(offset, data)
        self.copies.append(bytes(self.data))


class BufferingSource(RecordingSource):
    """The same behind buffers of a page, which are written in order of place when they are flushed, as a guest's."""

    __slots__ = ("_pages",)

    def __init__(self, data: bytearray) -> None:
        super().__init__(data)
        self._pages: dict[int, bytearray] = {}

    def bytes_at(self, offset: int, length: int) -> memoryview:
        found = bytearray(super().bytes_at(offset, length))
        for page in range(offset // PAGE_SIZE, -(-(offset + length) // PAGE_SIZE)):
            if page in self._pages:
                low, high = max(offset, page * PAGE_SIZE), min(offset + length, (page + 1) * PAGE_SIZE)
                start = page * PAGE_SIZE
                found[low - offset : high - offset] = self._pages[page][low - start : high - start]
        return memoryview(found).toreadonly()

    def write(self, offset: int, data: bytes | memoryview) -> None:
        for page in range(offset // PAGE_SIZE, -(-(offset + len(data)) // PAGE_SIZE)):
            start = page * PAGE_SIZE
            if page not in self._pages:
                self._pages[page] = bytearray(super().bytes_at(start, PAGE_SIZE))
            low, high = max(offset, start), min(offset + len(data), start + PAGE_SIZE)
            self._pages[page][low - start : high - start] = data[low - offset : high - offset]

    def flush(self) -> None:
        for page in sorted(self._pages):
            super().write(page * PAGE_SIZE, bytes(self._pages[page]))
        self._pages.clear()


def create(volume: Volume, writer: VolumeWriter) -> None:
    inode = writer.create(volume.resolve(b"/directory"), b"new")
    writer.files.write(inode, 0, b"n" * 20_000)


def make_directories(volume: Volume, writer: VolumeWriter) -> None:
    first = writer.mkdir(volume.root(), b"first")
    writer.symlink(writer.mkdir(first, b"second"), b"link", b"t" * 200)


def remove(volume: Volume, writer: VolumeWriter) -> None:
    writer.unlink(volume.root(), b"victim")
    writer.unlink(volume.root(), b"link")
    writer.files.write(writer.create(volume.root(), b"heir"), 0, b"h" * 9000)


def rename_over(volume: Volume, writer: VolumeWriter) -> None:
    writer.rename(volume.root(), b"victim", volume.resolve(b"/directory"), b"other")
    writer.rename(volume.root(), b"empty", volume.resolve(b"/directory"), b"moved")


def cut(volume: Volume, writer: VolumeWriter) -> None:
    victim = volume.resolve(b"/victim")
    writer.files.truncate(victim, 500)
    writer.files.write(victim, 600_000, b"far behind")


def set_attributes(volume: Volume, writer: VolumeWriter) -> None:
    for name in (b"/victim", b"/directory/other"):
        writer.attributes.set(volume.resolve(name), b"user.a", b"value")
    writer.attributes.set(volume.resolve(b"/victim"), b"user.a", b"another")
    writer.set_attributes(volume.resolve(b"/victim"), InodeChange(mode=0o600, uid=70_000))


@pytest.mark.parametrize("device", [RecordingSource, BufferingSource])
@pytest.mark.parametrize("change", [create, make_directories, remove, rename_over, cut, set_attributes])
def test_no_cut_loses_what_was_synced(
    change: Callable[[Volume, VolumeWriter], None], device: type[RecordingSource], tmp_path: Path
) -> None:
    image = make_image(tmp_path / "image", "1200k", "-b", "1024", "-N", "64", "-O", "^resize_inode")
    source = device(bytearray(image.read_bytes()))
    volume = Volume.mount(source, read_only=False)
    writer = VolumeWriter(volume)
    prepare(volume, writer)
    volume.sync()
    source.copies.clear()
    change(volume, writer)
    volume.sync()
    writer.close()
    assert len(source.copies) >= 5
    for number, copy in enumerate(dict.fromkeys(source.copies)):
        image.write_bytes(copy)
        mended = subprocess.run([tool("e2fsck") or "e2fsck", "-fy", image], capture_output=True, text=True, check=False)
        assert mended.returncode in {0, 1}, f"store {number}: {mended.stdout}"
        after = BufferSource(image.read_bytes())
        found = Volume.mount(after)
        for path, data in KEPT.items():
            assert content(after, found, found.resolve(path)) == data, f"store {number}: {path!r}"


def prepare(volume: Volume, writer: VolumeWriter) -> None:
    directory = writer.mkdir(volume.root(), b"directory")
    writer.mkdir(volume.root(), b"empty")
    for path, data in KEPT.items():
        parent, _, name = path[1:].rpartition(b"/")
        writer.files.write(writer.create(directory if parent else volume.root(), name), 0, data)
    writer.link(volume.resolve(b"/linked"), volume.root(), b"link")
    writer.files.write(writer.create(volume.root(), b"victim"), 0, b"v" * 300_000)
    writer.files.write(writer.create(directory, b"other"), 0, b"o" * 3000)

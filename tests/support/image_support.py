"""What image tests share: images in files, and what e2fsprogs and our own reader say of them."""

import io
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import Any

from needs_support import tool

from dcss.config.sources import DirectorySource, ImageSource
from dcss.ext2.inode import Inode
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume
from dcss.image.build import ImagePlan, plan_image
from dcss.image.listing import write_content
from dcss.image.opened import OpenedImage, image_source, mounted

_WHOLE_BYTES = 64 << 20
_CLEAN = re.compile(r"(Pass [1-5]: .*|.*: \d+/\d+ files \(.* non-contiguous\), \d+/\d+ blocks)")


def build(source: ImageSource | Path, image: Path, **options: int) -> ImagePlan:
    """Build an image into a file; a Path is a directory whose content becomes the root."""
    plan = plan_image(DirectorySource(source) if isinstance(source, Path) else source, **options)
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        plan.write(descriptor)
    finally:
        os.close(descriptor)
    assert image.stat().st_size == plan.size_bytes
    return plan


def digest(content: bytes | Path) -> str:
    """Return what content is compared by: pytest takes minutes and gigabytes to explain how megabytes differ."""
    return sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of e2fsprogs; its output is bytes decoded so that nothing is lost."""
    path = tool(name)
    assert path is not None
    return subprocess.run(
        [path, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    )


def e2fsck_findings(image: Path) -> list[str]:
    """Return what e2fsck -fn says beyond its passes and summary; nothing of a clean image."""
    done = run_tool("e2fsck", "-fn", image)
    lines = [line for line in done.stdout.splitlines() if line and not _CLEAN.fullmatch(line)]
    if done.returncode:
        lines.append(f"exit status {done.returncode}")
    return lines


class Read:
    """An image as our reader shows it, all at once; content of files up to 64 MiB, parts of any with `part`."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self.inodes: dict[bytes, Inode] = {}
        self.content: dict[bytes, bytes] = {}
        self.targets: dict[bytes, bytes] = {}
        self.xattrs: dict[bytes, dict[bytes, bytes]] = {}
        self.runs: dict[bytes, list[Any]] = {}
        with image.open("rb") as stream, closing(mmap(stream.fileno(), 0, prot=PROT_READ)) as buffer:
            source = BufferSource(buffer)
            volume = Volume.mount(source)
            for path, inode in volume.walk():
                self.inodes[path] = inode
                self.xattrs[path] = volume.xattrs(inode)
                if inode.is_regular:
                    self.runs[path] = list(volume.runs(inode))
                    if inode.size_bytes <= _WHOLE_BYTES:
                        out = io.BytesIO()
                        write_content(OpenedImage(volume, source), inode, out)
                        self.content[path] = out.getvalue()
                elif inode.is_symlink:
                    self.targets[path] = volume.readlink(inode)
            self.superblock = volume.superblock
            source.close()

    def part(self, path: bytes, offset: int, length: int) -> bytes:
        """Return part of a file's content."""
        found = bytearray(length)
        with self._image.open("rb") as stream:
            for run in self.runs[path]:
                start, end = run.file_block * 4096, (run.file_block + run.blocks) * 4096
                low, high = max(start, offset), min(end, offset + length)
                if low < high and run.disk_block:
                    stream.seek(run.disk_block * 4096 + low - start)
                    found[low - offset : high - offset] = stream.read(high - low)
        return bytes(found)


@contextmanager
def opened_image(path: Path, offset: int = 0) -> Iterator[OpenedImage]:
    """Mount the image at byte `offset` read-only. Raises ImageError where it cannot be read or holds no ext2."""
    with image_source(path, offset) as source:
        yield OpenedImage(mounted(source, path), source)

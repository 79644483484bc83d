"""ext2 images of small trees, made by mke2fs: a maker that nobody here wrote."""

import subprocess
from pathlib import Path

from needs_support import tool

from dcss.abi.page import PAGE_SIZE

HOLE_AT_PAGE = 3


def make_tree(root: Path) -> dict[bytes, bytes]:
    """Make files of distinctive sizes under `root`; return content by path."""
    contents = {
        b"usr/lib/libone.so.1": bytes(range(256)) * 4000,
        b"usr/lib/libtwo.so.2": b"two" * 70_000,
        b"usr/lib/deep/er/libthree.so": b"3" * PAGE_SIZE,
        b"usr/lib/empty.so": b"",
        b"usr/lib/notes.txt": b"not a library\n",
        b"etc/sparse": b"head".ljust(HOLE_AT_PAGE * PAGE_SIZE, b"h") + bytes(5 * PAGE_SIZE) + b"tail",
    }
    for path, content in contents.items():
        target = root / path.decode()
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            if path == b"etc/sparse":
                file.write(content[: HOLE_AT_PAGE * PAGE_SIZE])
                file.seek(8 * PAGE_SIZE)
                file.write(b"tail")
            else:
                file.write(content)
    (root / "usr/lib/libone.so").symlink_to("libone.so.1")
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/lib/loop").symlink_to("loop")
    (root / "usr/lib/hard.so").hardlink_to(root / "usr/lib/libtwo.so.2")
    return contents


def mke2fs(root: Path, image: Path, *, size: str = "8M", block_size_bytes: int = PAGE_SIZE) -> bytes:
    """Return an image of `root`."""
    program = tool("mke2fs") or "mke2fs"
    command = [program, "-q", "-t", "ext2", "-b", str(block_size_bytes), "-d", str(root), str(image), size]
    subprocess.run(command, check=True, capture_output=True)
    return image.read_bytes()

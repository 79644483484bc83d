"""Looking up names: against the entries of one directory, and against the depth of a path."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.framework.libraries import ADDRESS
from benchmarks.framework.results import Growth
from benchmarks.framework.rounds import grow
from benchmarks.framework.session import Session
from dcss.ext2.source import BufferSource
from dcss.ext2.volume import Volume

NAME = "growth-names"
ENTRIES = partial(Growth, NAME, against="entries of one directory", unit="ms", kind="time")
DEPTH = partial(Growth, NAME, against="directories of a path", unit="ms", kind="time")
IN_DIRECTORY = (
    ENTRIES("walk a directory", includes="walking a directory with the attributes of each entry, just mounted"),
    ENTRIES("look up all names", includes="looking up the path of every entry, just mounted"),
)
IN_DEPTH = (
    DEPTH("deepest path", includes="looking up the deepest path, just mounted"),
    DEPTH("deepest path again", includes="looking it up once more"),
)


def run(session: Session) -> list[Growth]:
    """Measure directories of ten to a hundred thousand entries, and paths of one to a thousand directories."""
    rounds = session.pick(quick=1, full=3)
    entries = session.pick(quick=(10, 100, 1000), full=(10, 100, 1000, 10_000, 100_000))
    depths = session.pick(quick=(1, 10, 100), full=(1, 10, 100, 300, 1000))
    return [
        *grow(NAME, IN_DIRECTORY, entries, lambda size: _in_image(session, size, _directory, _look_up), rounds=rounds),
        *grow(NAME, IN_DEPTH, depths, lambda size: _in_image(session, size, _chain, _go_down), rounds=rounds),
    ]


def _in_image(
    session: Session,
    size: int,
    make: Callable[[Path, int], None],
    measure: Callable[[Callable[[], Volume], int], dict[str, float]],
) -> dict[str, float]:
    """Build the image of a tree, and measure in it."""
    with session.directory("names") as directory:
        (directory / "tree").mkdir()
        make(directory / "tree", size)
        image = directory / "image"
        session.dcss("image", "build", directory / "tree", "-o", image, "--at", ADDRESS)
        content = image.read_bytes()
        return measure(lambda: Volume.mount(BufferSource(content)), size)


def _directory(tree: Path, entries: int) -> None:
    for number in range(entries):
        (tree / f"file-{number:06}").touch()


def _look_up(mount: Callable[[], Volume], entries: int) -> dict[str, float]:
    volume = mount()
    began = time.perf_counter()
    found = sum(inode.size_bytes == 0 for _, inode in volume.walk())
    walked = time.perf_counter()
    if found < entries:
        raise RuntimeError(f"found {found} empty files, wanted {entries}")
    volume = mount()
    mounted = time.perf_counter()
    for number in range(entries):
        volume.resolve(b"/file-%06d" % number)
    looked_up = time.perf_counter()
    return {"walk a directory": (walked - began) * 1e3, "look up all names": (looked_up - mounted) * 1e3}


def _chain(tree: Path, depth: int) -> None:
    for _ in range(depth):
        tree /= "d"
        tree.mkdir()


def _go_down(mount: Callable[[], Volume], depth: int) -> dict[str, float]:
    volume, path = mount(), b"/d" * depth
    began = time.perf_counter()
    volume.resolve(path)
    once = time.perf_counter()
    volume.resolve(path)
    twice = time.perf_counter()
    return {"deepest path": (once - began) * 1e3, "deepest path again": (twice - once) * 1e3}

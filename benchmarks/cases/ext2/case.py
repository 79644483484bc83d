"""Reading and writing ext2: this project's library beside the kernel's loop mount, fuse2fs, libfsext and dissect.extfs.

Libraries and other files of this machine are put into an image by mke2fs -d. Each subject mounts a copy of it and does
the same work. The system's caches are warm throughout; `just mounted` means that the subject's own are not.
"""

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from stat import S_ISREG
from time import perf_counter

from benchmarks.cases.ext2.kernel import Fuse2fs, KernelMount
from benchmarks.cases.ext2.libraries import Dissect, LibFsExt
from benchmarks.cases.ext2.ours import Ours
from benchmarks.cases.ext2.subject import LARGE_BYTES, READS, SMALL_FILES, Subject
from benchmarks.framework.libraries import copy_tree
from benchmarks.framework.machine import sbin
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session

SPARE_MIB = 128
SEQUENTIAL_MIB = 32
SUBJECTS: tuple[type[Subject], ...] = (Ours, KernelMount, Fuse2fs, LibFsExt, Dissect)
COLD_AGAIN = "cold lookups"  # before this one the subject is mounted anew


def run(session: Session) -> list[Row]:
    """Measure every subject on copies of one image."""
    with session.directory("ext2") as directory:
        image, paths = make_image(session, directory, session.pick(quick=48, full=200))
        subjects = {kind.name: partial(measure, kind, directory, image, paths, session.quick) for kind in SUBJECTS}
        return compare("ext2", specs(len(paths)), subjects, rounds=session.pick(quick=2, full=3))


def specs(files: int) -> list[RowSpec]:
    """Return a row for every kind of work."""
    left_out = "the start of the program; the system's caches are warm"
    works = {
        "mount": "mounting the image, or opening it",
        "cold walk with stat": f"walking the tree of {files:,} files with the attributes of each, just mounted",
        "warm walk with stat": "walking it once more",
        COLD_AGAIN: f"looking up the path of each of {files:,} files, just mounted",
        "warm lookups": "looking them up once more",
        "read the whole tree": "reading every file by its path",
        "4 KiB random reads": f"{READS:,} reads of 4 KiB of one file of {SEQUENTIAL_MIB} MiB",
        "sequential read": f"reading {SEQUENTIAL_MIB} MiB in sequence",
        "create small files": f"making {SMALL_FILES:,} files with 14 bytes each, and sync",
        "write a large file": f"writing {LARGE_BYTES >> 20} MiB in sequence, and sync",
    }
    return [RowSpec(name, "ms", "time", what, left_out) for name, what in works.items()]


def make_image(session: Session, directory: Path, mebibytes: int) -> tuple[Path, list[str]]:
    """Make the image of a tree; return it and the paths of its regular files."""
    tree = directory / "tree"
    copy_tree(tree / "usr", (mebibytes - SEQUENTIAL_MIB) << 20)
    with (tree / "large.bin").open("wb") as large:
        for number in range(SEQUENTIAL_MIB):
            large.write(bytes([number + 1]) * (1 << 20))
    paths = [f"/{path.relative_to(tree)}" for path in sorted(tree.rglob("*")) if S_ISREG(path.lstat().st_mode)]
    image = directory / "image"
    program = sbin("mke2fs")
    if program is None:
        raise RuntimeError("found no mke2fs, wanted e2fsprogs installed")
    options = ("-q", "-F", "-t", "ext2", "-b", "4096", "-O", "^resize_inode,^dir_index", "-d", tree)
    session.run(program, *options, image, f"{mebibytes + SPARE_MIB}M")
    return image, paths


def measure(kind: type[Subject], directory: Path, image: Path, paths: list[str], quick: bool) -> Sample:
    """Time everything that a subject does, once, on a copy of the image."""
    if quick and kind is Dissect:
        raise Unavailable("takes long, so it is measured in the full mode only")
    copy = directory / "copy"
    shutil.copyfile(image, copy)
    subject = kind(copy, paths)
    found: dict[str | tuple[str, str], float] = {}
    with ExitStack() as stack:
        found["mount"] = stack.enter_context(subject.mounted()) * 1e3
        for name, work in subject.works():
            if name == COLD_AGAIN:
                stack.close()
                # The better of both: it is too short for one alone.
                found["mount"] = min(found["mount"], stack.enter_context(subject.mounted()) * 1e3)
            began = perf_counter()
            work()
            found[name] = (perf_counter() - began) * 1e3
    return found

"""The image builder beside `mke2fs -d`: time, CPU, and what the layouts are worth to those who map the files.

A tree of this machine's files is copied into shared memory; every maker writes its image there too. The builder runs
as a command and, as in a running CP, in a process that has imported it.
"""

import compileall
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.cases.image.layout import huge_page_rows, layout_rows
from benchmarks.framework.libraries import ADDRESS, copy_tree
from benchmarks.framework.machine import ROOT, sbin
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Subject, Unavailable, compare
from benchmarks.framework.session import Session

MKE2FS, ALONE = "mke2fs -d", "dcss, the builder alone"
SPECS = (
    RowSpec(
        "build",
        "s",
        "time",
        "from the command to its end; *the builder alone* from the call to its end, in a process that has imported it",
        wanted_ratio=(MKE2FS, 1.0),
    ),
    RowSpec("CPU", "s", "cpu", "CPU of the command, interpreter and imports included"),
)


def run(session: Session) -> list[Row]:
    """Build images by each maker, and compare the last ones' layouts."""
    for package in ("dcss", "vmguest"):
        compileall.compile_dir(ROOT / package, quiet=2)  # as an installation does
    with session.directory("image") as directory:
        tree = directory / "tree"
        _, size_bytes = copy_tree(tree, session.pick(quick=32, full=200) << 20)
        ours, theirs, alone = (directory / f"{name}.img" for name in ("ours", "theirs", "alone"))
        command = ("image", "build", tree, "-o", ours, "--at", ADDRESS)
        with session.served("builder", str(tree), str(alone), str(int(ADDRESS, 16))) as builder:
            subjects: dict[str, Subject] = {
                "dcss": lambda: _made(ours, lambda: session.dcss(*command)),
                MKE2FS: partial(_mke2fs, session, tree, theirs, size_bytes),
                ALONE: lambda: {"build": builder.ask()["seconds"]},
            }
            rows = compare("image", SPECS, subjects, rounds=session.pick(quick=3, full=7))
        if ours.read_bytes() != alone.read_bytes():
            raise RuntimeError("found two images of the same tree that differ, wanted the same bytes")
        images = {"dcss": ours} | ({MKE2FS: theirs} if theirs.exists() else {})
        return [*rows, *layout_rows(session, images), *huge_page_rows(session, images, directory)]


def _mke2fs(session: Session, tree: Path, image: Path, size_bytes: int) -> Sample:
    program = sbin("mke2fs")
    if program is None:
        raise Unavailable("e2fsprogs is not installed")
    blocks = str(size_bytes // 4096 * 13 // 10 + 4096)
    options = ("-q", "-F", "-t", "ext2", "-b", "4096", "-d", tree)
    return _made(image, lambda: session.run(program, *options, image, blocks))


def _made(image: Path, make: Callable[[], object]) -> Sample:
    image.unlink(missing_ok=True)
    before, began = os.times(), time.perf_counter()
    make()
    seconds, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"build": seconds, "CPU": cpu}

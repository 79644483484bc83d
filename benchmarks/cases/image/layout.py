"""What an image's layout is worth: mappings that files need, and pages that huge pages can map."""

import ctypes
import json
import mmap
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.framework.kernel_books import MIB, PAGE_BYTES
from benchmarks.framework.libraries import ADDRESS
from benchmarks.framework.results import Row, RowSpec
from benchmarks.framework.rounds import Sample, Unavailable, compare
from benchmarks.framework.session import Session
from dcss.image.file_source import FileSource
from dcss.image.files import image_files

HUGE_BYTES = 2 * MIB
MAP_FIXED = 0x10
LARGE_BYTES = MIB
ROUNDS = 5

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def layout_rows(session: Session, images: Mapping[str, Path]) -> list[Row]:
    """Return what `dcss image map` says of each image, and the time that mapping every file takes."""
    of = "by `dcss image map`"
    specs = [
        RowSpec("runs", "blocks", "count", f"runs of contiguous blocks of all files, {of}"),
        RowSpec("mappings", "mmap calls", "count", f"mmap calls that map every file, {of}"),
        RowSpec("mappings of large files", "mmap calls", "count", f"mmap calls for the files of 1 MiB and more, {of}"),
        RowSpec("not huge", "%", "layout", f"file data that no page of 2 MiB can map, {of}"),
        RowSpec("metadata", "MiB", "memory", f"blocks that hold no file data, {of}"),
    ]
    counts = {name: partial(_layout, session, image) for name, image in images.items()}
    timed = [RowSpec("map all files", "ms", "time", "mapping every file whole and unmapping it, nothing touched")]
    times = {name: partial(_map_all, image) for name, image in images.items()}
    return [
        *compare("image", specs, counts, rounds=1, warm_up=False),
        *compare("image", timed, times, rounds=ROUNDS),
    ]


def huge_page_rows(session: Session, images: Mapping[str, Path], directory: Path) -> list[Row]:
    """Touch large files on a tmpfs that gives huge pages; only root can mount one."""
    specs = [
        RowSpec(
            "touch, huge pages",
            "ns a page",
            "time",
            "a byte of each page of the files of 1 MiB and more read once, on a tmpfs with huge=always",
        ),
        RowSpec("page faults, huge pages", "faults", "layout", "page faults for that"),
    ]
    subjects = {name: partial(_touch_huge, session, image, directory) for name, image in images.items()}
    return compare("image", specs, subjects, rounds=session.pick(quick=2, full=ROUNDS))


def _layout(session: Session, image: Path) -> Sample:
    mapped = json.loads(session.dcss("image", "map", image, "--at", ADDRESS, "--json"))
    files = [file for file in mapped["files"] if file["runs"]]
    return {
        "runs": sum(len(file["runs"]) for file in files),
        "mappings": sum(file["mappings"] for file in files),
        "mappings of large files": sum(file["mappings"] for file in files if file["size_bytes"] >= LARGE_BYTES),
        "not huge": 100 * (1 - mapped["huge_share"]),
        "metadata": mapped["metadata_bytes"] / MIB,
    }


def _map_all(image: Path) -> Sample:
    with image.open("rb") as stream:
        files = image_files(FileSource(stream.fileno())).files
        began = time.perf_counter()
        for file in files:
            for _, page, pages in file.runs:
                at = page * PAGE_BYTES
                mmap.mmap(stream.fileno(), pages * PAGE_BYTES, prot=mmap.PROT_READ, offset=at).close()
        return {"map all files": (time.perf_counter() - began) * 1e3}


def _touch_huge(session: Session, image: Path, directory: Path) -> Sample:
    with _huge_tmpfs(session, directory / "huge") as mount:
        copy = mount / image.name
        with copy.open("wb") as out:
            out.truncate(image.stat().st_size)  # at once: a file that grows gets no huge pages
            with image.open("rb") as content:
                shutil.copyfileobj(content, out, HUGE_BYTES)
        nanoseconds, faults = _touch_large(copy)
    return {"touch, huge pages": nanoseconds, "page faults, huge pages": faults}


@contextmanager
def _huge_tmpfs(session: Session, mount: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise Unavailable("only root can mount a tmpfs with huge=always")
    mount.mkdir(exist_ok=True)
    try:
        session.run("mount", "-t", "tmpfs", "-o", "huge=always", "none", mount)
        yield mount
    finally:
        if mount.is_mount():  # also where a signal came just after it was mounted
            subprocess.run(["umount", mount], check=True)


def _touch_large(image: Path) -> tuple[float, int]:
    """Map large files where huge pages can map them, read a byte of each page, return ns a page and page faults."""
    with image.open("rb") as stream:
        files = [file for file in image_files(FileSource(stream.fileno())).files if file.size_bytes >= LARGE_BYTES]
        area_bytes = sum(-(-file.size_bytes // HUGE_BYTES) * HUGE_BYTES for file in files) + HUGE_BYTES
        start = libc.mmap(None, area_bytes, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        views = list(_map_files(files, -(-start // HUGE_BYTES) * HUGE_BYTES, stream.fileno()))
        faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        pages = sum(int(view.max() >= 0) * len(view) for view in views)
        seconds = time.perf_counter() - began
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(area_bytes))
    return seconds / max(pages, 1) * 1e9, faults


def _map_files(files: list[Any], at: int, descriptor: int) -> Iterator[Any]:
    """Map each file at a multiple of 2 MiB; yield a view of one byte of each page."""
    for file in files:
        for file_page, page, pages in file.runs:
            where, flags = at + file_page * PAGE_BYTES, mmap.MAP_SHARED | MAP_FIXED
            mapped = libc.mmap(where, pages * PAGE_BYTES, mmap.PROT_READ, flags, descriptor, page * PAGE_BYTES)
            if mapped != where:
                raise OSError(ctypes.get_errno(), "mmap")
            view = (ctypes.c_uint8 * (pages * PAGE_BYTES)).from_address(where)
            yield np.ctypeslib.as_array(view)[::PAGE_BYTES]
        at += -(-file.size_bytes // HUGE_BYTES) * HUGE_BYTES

"""A system for the proof alone: guests that share libraries, without CP, described as `verify` wants it."""

import hashlib
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.framework.session import Session
from benchmarks.programs import mapping_guests
from benchmarks.programs.mapping_guests import PAGE_BYTES, POPULATE, RESERVED_BYTES, map_pages
from dcss.abi.extmem import SegmentType
from dcss.account.targets import AddressRange, GuestTarget, SegmentTarget, SystemTarget


class File(NamedTuple):
    """A file of the segment: runs of (page of the file, page of the segment, pages)."""

    path: bytes
    runs: tuple[tuple[int, int, int], ...]
    damage: str = ""


@contextmanager
def system(session: Session, libraries: Path, guests: int) -> Iterator[SystemTarget]:
    """Start guests that share all files of a directory, each mapped by one mmap with every page present."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen(
        [sys.executable, str(mapping_guests.__file__), str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env=session.environment,
        start_new_session=True,
    )
    theirs.close()
    path = session.scratch / "proof-segment"
    try:
        window, user_area = json.loads(ours.recv(1 << 10))
        target, files = segment_of(libraries, path)
        areas = [AddressRange(start, start + RESERVED_BYTES) for start in (window, user_area)]
        orders = json.dumps([file.runs[0][1:] for file in files]).encode()
        members = []
        for number in range(guests):
            socket.send_fds(ours, [orders], [target.descriptor])
            pid = int(ours.recv(32))
            members.append(GuestTarget(f"G{number:03}", "process", (pid,), "shared", 0, areas[0], areas[1]))
        yield SystemTarget("bench", os.getpid(), (server.pid,), tuple(members), (target,))
    finally:
        server.kill()  # its guests die with it
        server.wait()
        ours.close()
        path.unlink(missing_ok=True)


def segment_of(libraries: Path, path: Path) -> tuple[SegmentTarget, list[File]]:
    """Put all files of a directory into one object, page by page, and map it as CP does."""
    digest = hashlib.sha256()
    files: list[File] = []
    pages = 0
    with path.open("xb") as segment:
        for library in sorted(libraries.iterdir()):
            content = library.read_bytes()
            content += bytes(-len(content) % PAGE_BYTES)
            segment.write(content)
            digest.update(content)
            files.append(File(bytes(library), ((0, pages, len(content) // PAGE_BYTES),)))
            pages += len(content) // PAGE_BYTES
    descriptor = os.open(path, os.O_RDONLY)
    address = map_pages(None, pages, mmap.PROT_READ, mmap.MAP_SHARED | POPULATE, descriptor=descriptor)
    name = f"/{path.relative_to('/dev/shm')}"
    size_bytes = pages * PAGE_BYTES
    target = SegmentTarget(
        "LIB", SegmentType.SR, name, descriptor, address, size_bytes, digest.hexdigest(), tuple(files)
    )
    return target, files

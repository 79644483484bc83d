"""A CP of its own for each test: its runtime and state directories, a system name of its own, ready definitions."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.abi.hypercall import Reply
from dcss.cp.program import ControlProgram

_numbers = count(1)


def unique_system(prefix: str = "test") -> str:
    """A system name that no other test run on this machine uses."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


def objects_of(system: str) -> list[str]:
    """What stands in /dev/shm for a system."""
    return sorted(path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(f"dcss.{system}."))


def open_descriptors() -> int:
    """How many descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


def define(name: str, *words: str, **options: bool) -> SegmentDefinition:
    """A definition from DEFSEG's words."""
    return SegmentDefinition(SegmentName(name), tuple(PageRange.parse(word) for word in words), **options)


def filler(content: bytes) -> Callable[[int], None]:
    """A fill function that writes `content` at the segment's start."""

    def fill(write_fd: int) -> None:
        os.pwrite(write_fd, content, 0)

    return fill


def never_filled(write_fd: int) -> NoReturn:
    """A fill function for what must be refused before anything is written."""
    pytest.fail(f"asked to fill descriptor {write_fd}")


def descriptor_of(reply: Reply) -> int:
    """The descriptor that a reply must carry."""
    assert reply.descriptor is not None
    return reply.descriptor


@contextmanager
def private_directories() -> Iterator[Path]:
    """Runtime and state directories of one's own."""
    before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")}
    with TemporaryDirectory() as directory:
        for name in before:
            path = Path(directory, name.lower())
            path.mkdir(mode=0o700)
            os.environ[name] = str(path)
        try:
            yield Path(directory)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def control_program(system: str | None = None) -> Iterator[ControlProgram]:
    """A running CP; afterwards nothing of it is left."""
    system = system or unique_system()
    with private_directories():
        with ControlProgram(system) as cp:
            yield cp
        assert objects_of(system) == []

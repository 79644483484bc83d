"""A CP of its own for each test: its runtime and state directories, a system name of its own, ready definitions."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, Self, TypeVar

import pytest

from dcss.abi.diag64 import ConditionCode
from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName
from dcss.abi.hypercall import Reply, Request
from dcss.cp.lock import SystemLock
from dcss.cp.machine import Dump, LoadedSegment, RegisteredMachine
from dcss.cp.program import ControlProgram
from dcss.cp.requests import THE_OPERATOR, Issuer, OperatorRequest, Response
from dcss.cp.segments.content import Fill
from dcss.cp.segments.segment import Segment
from dcss.host.files import FaultPoint, no_fault

_numbers = count(1)
Result = TypeVar("Result")


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


class BlockingCp:
    """A CP for tests that are no coroutines: each call runs an event loop until it has its result.

    It may be called from several threads, one after the other.
    """

    def __init__(self, system: str, *, fault: FaultPoint = no_fault) -> None:
        self.cp = ControlProgram(system, fault=fault)
        self.saved = BlockingSavedSegments(self)
        self._runner = asyncio.Runner()
        self._running = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Await one of CP's coroutines."""
        with self._running:
            return self._runner.run(coroutine)

    @property
    def system(self) -> str:
        return self.cp.system

    @property
    def lock(self) -> SystemLock:
        return self.cp.lock

    @property
    def swept(self) -> tuple[str, ...]:
        return self.cp.swept

    @property
    def findings(self) -> list[str]:
        return self.cp.findings

    @property
    def available(self) -> Mapping[SegmentName, Segment]:
        return self.cp.available

    @property
    def segments(self) -> Mapping[SegmentName, Segment]:
        return self.cp.segments

    @property
    def files(self) -> Mapping[int, Segment]:
        return self.cp.files

    @property
    def machines(self) -> Mapping[str, RegisteredMachine]:
        return self.cp.machines

    def report_findings(self, report: Callable[[str], None], note: Callable[[str], None] = lambda _: None) -> None:
        self.cp.report_findings(report, note)

    def publish(self, definition: SegmentDefinition, fill: Fill, *, image_bytes: int | None = None) -> Segment:
        return self.run(self.cp.publish(definition, fill, image_bytes=image_bytes))

    def open(self, name: SegmentName) -> Segment:
        return self.run(self.cp.open(name))

    def register(
        self,
        name: str,
        *,
        storage_bytes: int,
        namesave: frozenset[str] = frozenset(),
        privilege: str = "G",
        dump: Dump | None = None,
    ) -> None:
        self.cp.register(name, storage_bytes=storage_bytes, namesave=namesave, privilege=privilege, dump=dump)

    def handle(self, name: str, packet: bytes) -> Reply:
        """Answer a packet; one that is no request, as whoever serves the socket does."""
        try:
            request = Request.unpack(packet)
        except ValueError:
            return Reply(ConditionCode.UNSUPPORTED)
        return self.run(self.cp.handle(name, request))

    def execute(self, command: str, issuer: Issuer = THE_OPERATOR) -> Response:
        return self.run(self.cp.execute(command, issuer))

    def perform(self, request: OperatorRequest) -> Response:
        return self.run(self.cp.perform(request))

    def release(self, name: str) -> None:
        self.cp.release(name)

    @property
    def changes(self) -> int:
        return self.cp.changes

    def pinned_versions(self) -> AbstractContextManager[None]:
        return self.cp.pinned_versions()

    def users(self, name: str) -> int:
        return self.cp.users(name)

    def loaded(self, name: str) -> Mapping[SegmentName, LoadedSegment]:
        return self.cp.loaded(name)

    def close(self) -> None:
        self.cp.close()
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlockingSavedSegments:
    """`ControlProgram.saved` for tests that are no coroutines."""

    def __init__(self, cp: BlockingCp) -> None:
        self._cp = cp

    def define(self, definition: SegmentDefinition, *, owner: str = "OPERATOR") -> Segment:
        return self._cp.run(self._cp.cp.saved.define(definition, owner=owner))

    def save(self, name: SegmentName, fill: Fill, *, owner: str = "OPERATOR", drop: bool = False) -> Segment:
        async def fill_for(_: Segment) -> Fill:
            return fill

        return self._cp.run(self._cp.cp.saved.save(name, fill_for, owner=owner, drop=drop))

    def store(
        self,
        definition: SegmentDefinition,
        fill: Fill,
        *,
        owner: str = "OPERATOR",
        image_bytes: int | None = None,
        digest: str | None = None,
    ) -> Segment:
        saved = self._cp.cp.saved
        return self._cp.run(saved.store(definition, fill, owner=owner, image_bytes=image_bytes, digest=digest))

    def purge(self, *segments: Segment) -> None:
        self._cp.run(self._cp.cp.saved.purge(lambda: segments))


@contextmanager
def control_program(system: str | None = None) -> Iterator[BlockingCp]:
    """A running CP; afterwards nothing of it is left."""
    system = system or unique_system()
    with private_directories():
        with BlockingCp(system) as cp:
            yield cp
        assert objects_of(system) == []

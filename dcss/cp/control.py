"""CP, the host's control program: owns a system's segments and answers its guests' hypercalls."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType, TracebackType
from typing import Self

from dcss.abi.channel import Reply, Request
from dcss.abi.diag64 import DIAGNOSE_64, ConditionCode
from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.content import Fill, keeps_content, write_content
from dcss.cp.diag64 import diagnose_64
from dcss.cp.directory import Directory
from dcss.cp.runtime import SystemLock, sweep
from dcss.cp.segment import FileClass, Guest, Load, Segment
from dcss.cp.shm import SharedObject
from dcss.errors import PublishError


class ControlProgram:
    """The one CP of `system`, from construction to `close`; used from one thread.

    It sweeps away what a killed CP of the same system left. Raises SystemBusyError where another CP runs the system.
    """

    def __init__(self, system: str) -> None:
        self.system = system
        with ExitStack() as stack:
            self.lock = stack.enter_context(SystemLock(system))
            self.swept = sweep(system)
            self._directory = Directory()
            self._guests: dict[str, Guest] = {}
            self._closing = stack.pop_all()

    @property
    def segments(self) -> Mapping[SegmentName, Segment]:
        """The segments that a guest can load now, by name."""
        return MappingProxyType(self._directory.available)

    @property
    def files(self) -> Mapping[int, Segment]:
        """All system data files by file number, those pending purge included."""
        return MappingProxyType(self._directory.files)

    def publish(self, definition: SegmentDefinition, fill: Fill, *, image_bytes: int | None = None) -> Segment:
        """Put a segment into shared memory, filled by `fill(write_fd)`, for guests to load from now on.

        `image_bytes`, where known, is checked against the segment's size before anything is created. `fill` is called
        again when a segment of type SW gets its first user after others wrote to it. An older segment of that name
        goes as PURGE NSS would take it. Raises PublishError; what `fill` raises passes through. Nothing is left then.
        """
        name = definition.name
        if image_bytes is not None and image_bytes > definition.size_bytes:
            raise PublishError(f"segment {name}: needs {image_bytes} bytes for its image, has {definition.size_bytes}")
        if image_bytes and not keeps_content(definition):
            raise PublishError(f"segment {name}: given an image, but pages of types SN and EN read as zeros at first")
        spid = self._directory.next_spid()
        shared_object = SharedObject(
            self.system,
            name,
            definition.size_bytes,
            lambda write_fd: write_content(definition, fill, write_fd),
            number=spid,
        )
        try:
            file_class = FileClass.RESTRICTED if definition.restricted else FileClass.AVAILABLE
            segment = Segment(definition, spid, file_class, shared_object, None, fill)
            if not any(page_range.type.shared_writable for page_range in definition.ranges):
                segment.digest = hashlib.sha256(shared_object.buffer).hexdigest()
        except BaseException:
            shared_object.close()
            raise
        self._directory.add(segment)
        return segment

    def register(self, guest: str, *, storage_bytes: int, namesave: frozenset[str] = frozenset()) -> None:
        """Make a guest known before its first hypercall; `namesave` are the restricted segments that it may load."""
        if guest in self._guests:
            raise ValueError(f"guest {guest}: already registered, release it first")
        self._guests[guest] = Guest(guest, storage_bytes, namesave)

    def handle(self, guest: str, packet: bytes) -> Reply:
        """Answer one hypercall packet of a registered guest. Raises nothing, whatever the guest sends.

        A descriptor in the reply stays CP's own: send it, do not close it.
        """
        caller = self._guests[guest]
        try:
            request = Request.unpack(packet)
        except ValueError:
            return Reply(ConditionCode.UNSUPPORTED)
        if request.diagnose != DIAGNOSE_64:
            return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)
        return diagnose_64(self._directory, caller, request)

    def release(self, guest: str) -> None:
        """Forget a guest that ended, and all that it had loaded. Nothing happens where it is not registered."""
        ended = self._guests.pop(guest, None)
        if ended is not None:
            for name in list(ended.loads):
                self._directory.unload(ended, name)

    def users(self, name: str) -> int:
        """Return how many guests have the available segment `name` loaded. Raises KeyError where there is none."""
        return len(self._directory.available[SegmentName(name)].users)

    def loaded(self, guest: str) -> Mapping[SegmentName, Load]:
        """Return what a guest has loaded. Raises KeyError where it is not registered."""
        return MappingProxyType(self._guests[guest].loads)

    def close(self) -> None:
        """Unlink every object, empty the runtime directory, give up the lock. May be called twice."""
        with self._closing:
            for segment in self._directory.files.values():
                segment.object.close()
            self._directory = Directory()
            self._guests.clear()
            if self.lock.held:
                sweep(self.system)  # what an interrupt may have kept from being recorded

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

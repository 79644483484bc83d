"""CP, the host's control program: owns a system's segments and answers its guests' hypercalls."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from types import MappingProxyType, TracebackType
from typing import Self

from dcss.abi.diag08 import DIAGNOSE_08
from dcss.abi.diag64 import DIAGNOSE_64, ConditionCode
from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.abi.hypercall import Reply, Request
from dcss.cp.console.commands import THE_OPERATOR, Host, Issuer, Response, execute_steps
from dcss.cp.diag.diag08 import diagnose_08
from dcss.cp.diag.diag64 import diagnose_64
from dcss.cp.lock import SystemLock
from dcss.cp.segments.content import Fill, check_image
from dcss.cp.segments.directory import Directory
from dcss.cp.segments.segment import OPERATOR, Dump, Guest, Load, Segment
from dcss.cp.segments.storage import Storage
from dcss.cp.spool.saved import SavedSegments, now, saved_class
from dcss.cp.spool.spool import Spool
from dcss.cp.steps import Steps, run_to_completion
from dcss.cp.sweep import sweep
from dcss.errors import PublishError
from dcss.host.files import FaultPoint, no_fault
from dcss.host.signals import interrupts_held


class ControlProgram:
    """The one CP of `system`, from construction to `close`; used from one thread.

    It sweeps away what a killed CP of the same system left. `saved` are the segments that its spool keeps. `fault` is
    told each step of a write to the spool. Raises SystemBusyError where another CP runs the system.
    """

    def __init__(self, system: str, *, fault: FaultPoint = no_fault) -> None:
        self.system = system
        with interrupts_held(), ExitStack() as stack:
            self.lock = stack.enter_context(SystemLock(system))
            self.swept = sweep(self.lock)
            self._spool = Spool(system, fault=fault)
            stack.callback(self._spool.close)
            self._storage = Storage(system)
            stack.callback(self._storage.close)
            self._directory = Directory(self._storage, lambda segment, why: self._spool.set_aside(segment.spid, why))
            self._guests: dict[str, Guest] = {}
            self.saved = SavedSegments(self._directory, self._spool)
            self._host = Host(system, self._directory, self.saved)
            self._closing = stack.pop_all()

    @property
    def findings(self) -> list[str]:
        """One line for each damaged file of the spool that was set aside."""
        return self._spool.findings

    def tell_findings(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with each of `findings`, those of now and those to come, and with loads that fail."""
        for finding in self.findings:
            tell(finding)
        self._spool.tell = self._directory.tell = tell

    @property
    def available(self) -> Mapping[SegmentName, Segment]:
        """The segments that a load gets now, by name, whether they are in storage yet or not."""
        return MappingProxyType(self._directory.available)

    @property
    def segments(self) -> Mapping[SegmentName, Segment]:
        """Those of `available` that are in storage."""
        return {name: segment for name, segment in self.available.items() if segment.stored is not None}

    @property
    def files(self) -> Mapping[int, Segment]:
        """All system data files by file number, skeletons and those pending purge included."""
        return MappingProxyType(self._directory.files)

    @property
    def guests(self) -> Mapping[str, Guest]:
        """The registered guests by name."""
        return MappingProxyType(self._guests)

    def publish(self, definition: SegmentDefinition, fill: Fill, *, image_bytes: int | None = None) -> Segment:
        """Put a segment into shared memory, filled by `fill(write_fd)`, for guests to load from now on.

        It is transient: the spool does not keep it. `image_bytes`, where known, is checked against the segment's size
        before anything is created. `fill` is called again when a segment of type SW gets its first user after others
        wrote to it. An older segment of that name goes as PURGE NSS would take it; a saved one is not hidden but an
        error. Raises PublishError; what `fill` raises passes through. Nothing is left then.
        """
        name = definition.name
        check_image(definition, image_bytes)
        older = self._directory.available.get(name)
        if older is not None and older.saved_digest is not None:
            raise PublishError(
                f"segment {name}: the spool holds it as file {older.spid:04d}; leave its image out to use that, save"
                f" the new one over it, or purge it (PURGE NSS NAME {name})"
            )
        segment = Segment(definition, self._directory.next_spid(), saved_class(definition), OPERATOR, now(), fill)
        self._storage.bring_in(segment)
        self._directory.add(segment)
        return segment

    def open(self, name: SegmentName) -> Segment:
        """Bring a saved segment into storage before its first load.

        Raises KeyError where there is none, PublishError, and DamagedError, after which the segment is set aside.
        """
        segment = self._directory.available[name]
        self._directory.bring_in(segment)
        return segment

    def set_aside(self, segment: Segment, reason: str) -> None:
        """Take a segment of the spool away that turned out not to be what was saved: no new load gets it."""
        self._directory.set_aside(segment, reason)

    def register(
        self,
        guest: str,
        *,
        storage_bytes: int,
        namesave: frozenset[str] = frozenset(),
        privilege: str = "G",
        dump: Dump | None = None,
    ) -> None:
        """Make a guest known before its first hypercall.

        `namesave` are the restricted segments that it may load, `privilege` its classes for CP commands.
        `dump(write_fd, address, size_bytes)` writes its absolute storage to a descriptor, for SAVESEG.
        """
        if guest in self._guests:
            raise ValueError(f"guest {guest}: already registered, release it first")
        self._guests[guest] = Guest(guest, storage_bytes, namesave, frozenset(privilege), dump)

    def handle(self, guest: str, packet: bytes) -> Reply:
        """Do `handle_steps` at once."""
        return run_to_completion(self.handle_steps(guest, packet))

    def handle_steps(self, guest: str, packet: bytes) -> Steps[Reply]:
        """Answer one hypercall packet of a registered guest. Raises nothing, whatever the guest sends.

        A descriptor in the reply stays CP's own: send it, do not close it.
        """
        caller = self._guests[guest]
        try:
            request = Request.unpack(packet)
        except ValueError:
            return Reply(ConditionCode.UNSUPPORTED)
        if request.diagnose == DIAGNOSE_64:
            return diagnose_64(self._directory, caller, request)
        if request.diagnose == DIAGNOSE_08:
            return (yield from diagnose_08(self._host, caller, request))
        return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)

    def execute(self, command: str, issuer: Issuer = THE_OPERATOR) -> Response:
        """Do `execute_steps` at once."""
        return run_to_completion(self.execute_steps(command, issuer))

    def execute_steps(self, command: str, issuer: Issuer = THE_OPERATOR) -> Steps[Response]:
        """Execute one line of a CP console. Raises nothing for a command that is wrong: that is a response."""
        return execute_steps(self._host, command, issuer)

    def release(self, guest: str) -> None:
        """Forget a guest that ended, and all that it had loaded. Nothing happens where it is not registered."""
        ended = self._guests.pop(guest, None)
        if ended is not None:
            for name in list(ended.loads):
                self._directory.unload(ended, name)

    def pinned_versions(self) -> AbstractContextManager[None]:
        """Keep in storage, until the block ends, what is purged or replaced meanwhile."""
        return self._directory.pinned_versions()

    @property
    def changes(self) -> int:
        """A number that changes whenever a segment is loaded, unloaded, taken away or written to by CP."""
        return self._directory.changes

    def users(self, name: str) -> int:
        """Return how many guests have the available segment `name` loaded. Raises KeyError where there is none."""
        return len(self._directory.available[SegmentName(name)].users)

    def loaded(self, guest: str) -> Mapping[SegmentName, Load]:
        """Return what a guest has loaded. Raises KeyError where it is not registered."""
        return MappingProxyType(self._guests[guest].loads)

    def close(self) -> None:
        """Unlink every object, empty the runtime directory, give up the locks. May be called twice."""
        with interrupts_held():
            self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

"""CP, the host's control program: owns a system's segments and answers its guests' hypercalls."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from types import MappingProxyType, TracebackType
from typing import Self

from dcss.abi.diag08 import DIAGNOSE_08
from dcss.abi.diag64 import DIAGNOSE_64, ConditionCode
from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.abi.hypercall import Reply, Request
from dcss.cp.diag.diag08 import diagnose_08
from dcss.cp.diag.diag64 import diagnose_64
from dcss.cp.findings import Findings
from dcss.cp.lock import SystemLock
from dcss.cp.machine import Dump, LoadedSegment, RegisteredMachine
from dcss.cp.operations import Host, perform
from dcss.cp.requests import THE_OPERATOR, ConsoleCommand, Issuer, OperatorRequest, Response
from dcss.cp.segments.content import Fill, check_image
from dcss.cp.segments.directory import SegmentDirectory
from dcss.cp.segments.objects import SegmentObjects
from dcss.cp.segments.segment import Segment
from dcss.cp.spool.saved import SavedSegments, now, saved_class
from dcss.cp.spool.spool import Spool
from dcss.cp.sweep import sweep
from dcss.cp.userids import OPERATOR
from dcss.errors import PublishError
from dcss.host.files import FaultPoint, no_fault
from dcss.host.signals import interrupts_held


class ControlProgram:
    """The one CP of `system`, from construction to `close`; used from one event loop.

    It sweeps away what a killed CP of the same system left. `saved` are the segments that its spool keeps. `fault` is
    called with each step of a write to the spool. Raises SystemBusyError if another CP runs the system.
    """

    def __init__(self, system: str, *, fault: FaultPoint = no_fault) -> None:
        self.system = system
        with interrupts_held(), ExitStack() as stack:
            self.lock = stack.enter_context(SystemLock(system))
            self.swept = sweep(self.lock)
            spool = Spool(system, fault=fault)
            stack.callback(spool.close)
            self._objects = SegmentObjects(system)
            stack.callback(self._objects.close)
            self._directory = SegmentDirectory(self._objects)
            self._machines: dict[str, RegisteredMachine] = {}
            self._findings = Findings()
            self._on_hypercall: Callable[[str, Request, Reply], None] = lambda *_: None
            self.saved = SavedSegments(self._directory, spool, self._findings)
            self._host = Host(system, self._directory, self.saved, self._findings, self._machines)
            self._closing = stack.pop_all()

    @property
    def findings(self) -> list[str]:
        """One line for each damaged file of the spool that was set aside."""
        return self._findings.damaged

    def report_findings(self, report: Callable[[str], None], note: Callable[[str], None] = lambda _: None) -> None:
        """Call `report` with each of `findings`, those of now and those to come, and with loads that fail.

        `note` is called with what guests are refused, and why.
        """
        self._findings.report_to(report, note)

    def observe(
        self,
        on_hypercall: Callable[[str, Request, Reply], None],
        on_segment: Callable[[Segment, RegisteredMachine | None], None],
    ) -> None:
        """Have `on_hypercall` called with each hypercall of a machine that was answered, by the machine's name.

        `on_segment` is called as SegmentDirectory.on_changed is.
        """
        self._on_hypercall = on_hypercall
        self._directory.on_changed = on_segment

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
    def machines(self) -> Mapping[str, RegisteredMachine]:
        """The registered virtual machines by name."""
        return MappingProxyType(self._machines)

    async def publish(
        self, definition: SegmentDefinition, fill: Fill, *, image_bytes: int | None = None, huge: bool = True
    ) -> Segment:
        """Put a segment into shared memory, filled by `fill(write_fd)`, for guests to load from now on.

        It is transient: the spool does not keep it. `image_bytes`, if known, is checked against the segment's size
        before anything is created. With `huge` it gets huge pages where the machine has them. `fill` is called in a
        thread, and again when a segment of type SW gets its first user after others wrote to it. An older segment of
        that name goes as PURGE NSS would take it; a saved one is not hidden but an error. Raises PublishError; what
        `fill` raises passes through. Nothing is left then.
        """
        name = definition.name
        check_image(definition, image_bytes)
        async with self.saved.exclusive:
            older = self._directory.available.get(name)
            if older is not None and older.saved_digest is not None:
                raise PublishError(
                    f"segment {name}: the spool holds it as file {older.spid:04d}; leave its image out to use that,"
                    f" save the new one over it, or purge it (PURGE NSS NAME {name};"
                    f" dcss segment purge {name} --system {self.system})"
                )
            spid, file_class = self._directory.next_spid(), saved_class(definition)
            segment = Segment(definition, spid, file_class, OPERATOR, now(), fill, huge=huge)
            await self._objects.bring_in(segment)
            self._directory.add(segment)
        return segment

    async def open(self, name: SegmentName, *, huge: bool = True) -> Segment:
        """Bring a saved segment into storage before its first load, with `huge` into huge pages where there are any.

        Raises KeyError if there is none, PublishError, and DamagedError, after which the segment is set aside.
        """
        self._directory.available[name].huge = huge
        return await self._directory.bring_in(name)

    def register(
        self,
        name: str,
        *,
        storage_bytes: int,
        namesave: frozenset[str] = frozenset(),
        privilege: str = "G",
        dump: Dump | None = None,
    ) -> None:
        """Make a virtual machine known before its first hypercall.

        `namesave` are the restricted segments that it may load, `privilege` its classes for CP commands.
        `dump(write_fd, address, size_bytes)` writes its absolute storage to a descriptor, for SAVESEG, in a thread.
        """
        if name in self._machines:
            raise ValueError(f"guest {name}: already registered, release it first")
        self._machines[name] = RegisteredMachine(name, storage_bytes, namesave, frozenset(privilege), dump)

    async def handle(self, name: str, request: Request) -> Reply:
        """Answer one hypercall of a virtual machine. Raises nothing, whatever it sends, and also once it was released.

        A descriptor in the reply stays CP's own: send it, do not close it.
        """
        machine = self._machines.get(name)
        if machine is None:  # its process lives a little longer than that, while a system is taken down
            return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)
        reply = await self._answer(machine, request)
        self._on_hypercall(name, request, reply)
        return reply

    async def _answer(self, machine: RegisteredMachine, request: Request) -> Reply:
        if request.diagnose == DIAGNOSE_64:
            return await diagnose_64(self._host, machine, request)
        if request.diagnose == DIAGNOSE_08:
            return await diagnose_08(self._host, machine, request)
        return Reply(ConditionCode.UNSUPPORTED, request.rx, request.ry)

    async def execute(self, command: str, issuer: Issuer = THE_OPERATOR) -> Response:
        """Execute one line of a CP console. Whatever fails is a response."""
        return await perform(self._host, ConsoleCommand(command), issuer)

    async def perform(self, request: OperatorRequest, issuer: Issuer = THE_OPERATOR) -> Response:
        """Do what an operator asks for. Raises what dcss.cp.operations.perform does."""
        return await perform(self._host, request, issuer)

    def release(self, name: str) -> None:
        """Forget a virtual machine that ended, and all that it had loaded. Nothing happens if it is not registered."""
        ended = self._machines.pop(name, None)
        if ended is not None:
            ended.released = True
            for loaded in list(ended.loads):
                self._directory.unload(ended, loaded)

    def pinned_versions(self) -> AbstractContextManager[None]:
        """Keep in storage, until the block ends, what is purged or replaced meanwhile."""
        return self._directory.pinned_versions()

    @property
    def changes(self) -> int:
        """A number that changes whenever a segment is loaded, unloaded, taken away or written to by CP."""
        return self._directory.changes

    def users(self, name: str) -> int:
        """Return how many machines have the available segment `name` loaded. Raises KeyError if there is none."""
        return len(self._directory.available[SegmentName(name)].users)

    def loaded(self, name: str) -> Mapping[SegmentName, LoadedSegment]:
        """Return what a virtual machine has loaded. Raises KeyError if it is not registered."""
        return MappingProxyType(self._machines[name].loads)

    def close(self) -> None:
        """Unlink every object, empty the runtime directory, give up the locks. May be called twice.

        Nothing may be under way: whoever awaits one of CP's coroutines has it cancelled first, and waits for its end.
        """
        with interrupts_held():
            self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

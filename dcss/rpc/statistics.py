"""Read a running system's statistics area: what `ps`, `top` and `metrics` show, without a question to its CP."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from dcss.abi import statistics as abi
from dcss.host.files import log_tail
from dcss.host.process import is_overdue
from dcss.host.shared_memory import attach_block
from dcss.host.text import iso_utc
from dcss.results import GuestStatus, SegmentStatus, SystemStatus
from dcss.rpc.area_files import StatisticsError, area_file

_TORN_SECONDS = 2.0  # for so long a CP may be in the middle of a write that does not wait for a processor
_RETRY_SECONDS = 0.001


class GuestStatistics(NamedTuple):
    """One guest: its slot, and its hypercalls by `abi.hypercall_word`."""

    slot: abi.GuestSlot
    hypercalls: tuple[int, ...]

    @property
    def name(self) -> str:
        """The guest's name."""
        return abi.text_of(self.slot.name)

    @property
    def engine(self) -> str:
        """What it runs on."""
        return abi.text_of(self.slot.engine)

    @property
    def state(self) -> str:
        """Its state, as `dcss ps` shows it."""
        return abi.text_of(self.slot.state)

    @property
    def pid(self) -> int | None:
        """Its process, None where it has none."""
        return self.slot.pid or None

    @property
    def segments(self) -> tuple[str, ...]:
        """What it has loaded."""
        return tuple(abi.text_of(self.slot.segments).split())


class Statistics(NamedTuple):
    """One look at an area. Each slot is whole; slots are of different instants."""

    pid: int
    system: abi.SystemSlot
    guests: tuple[GuestStatistics, ...]
    segments: tuple[abi.SegmentSlot, ...]
    claims: tuple[abi.ClaimSlot, ...]


class StatisticsReader:
    """The statistics area of the system whose CP is process `pid`, attached until `close`.

    Raises StatisticsError where there is none that this program can read.
    """

    def __init__(self, system: str, pid: int) -> None:
        self.system, self.pid = system, pid
        path = area_file(system, pid)
        try:
            self._block = attach_block(path.name)
        except (OSError, ValueError) as error:
            raise StatisticsError(f"system {system}: its statistics area {path}: {error}") from error
        memory = self._block.buf
        assert memory is not None, "it was attached"
        self._memory = memory.toreadonly()
        try:
            self._head = _checked_head(system, self._memory)
        except BaseException:
            self.close()
            raise

    def read(self) -> Statistics:
        """Look at all slots. Raises StatisticsError where one is not whole for too long: CP was killed, or stopped."""
        head = self._head
        (system,) = self._slots(head.system_offset, head.system_slot_bytes, head.system_slots)
        guests = self._slots(head.guests_offset, head.guest_slot_bytes, head.guest_slots)
        segments = self._slots(head.segments_offset, head.segment_slot_bytes, head.segment_slots)
        claims = self._slots(head.claims_offset, head.claim_slot_bytes, head.claim_slots)
        return Statistics(
            head.pid,
            abi.SystemSlot._make(abi.SYSTEM_SLOT.unpack_from(system)),
            tuple(map(_guest, guests)),
            tuple(
                sorted(
                    (slot for slot in map(_segment, segments) if slot.file),
                    key=lambda slot: slot.file,
                )
            ),
            tuple(slot for slot in map(_claim, claims) if slot.name.strip(b"\0")),
        )

    def _slots(self, offset_bytes: int, slot_bytes: int, slots: int) -> Iterator[bytes]:
        for start in range(offset_bytes, offset_bytes + slot_bytes * slots, slot_bytes):
            yield self._whole(start, slot_bytes)

    def _whole(self, start: int, slot_bytes: int) -> bytes:
        """Copy one slot; wait while CP writes it."""
        memory = self._memory
        deadline = None
        while True:
            copy = bytes(memory[start : start + slot_bytes])
            if abi.is_whole(copy, *abi.WORD.unpack_from(memory, start)):
                return copy
            deadline = deadline or time.monotonic() + _TORN_SECONDS
            if is_overdue(self.pid, deadline):
                raise StatisticsError(
                    f"system {self.system}: its statistics area has a torn slot at byte {start}: its CP (process"
                    f" {self.pid}) was stopped or killed while it wrote"
                )
            time.sleep(_RETRY_SECONDS)

    def close(self) -> None:
        """Detach."""
        self._memory.release()
        self._block.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def status_of(statistics: Statistics, directory: Path) -> SystemStatus:
    """Return what `dcss ps` shows of a system whose runtime directory is `directory`.

    Raises StatisticsError where the area has not all that it takes.
    """
    system = statistics.system
    name = abi.text_of(system.name)
    cut = [guest.name for guest in statistics.guests if guest.slot.flags & abi.CUT]
    if cut or system.left_out:
        what = f"of guest {cut[0]}" if cut else f"of {system.left_out} segments"
        raise StatisticsError(f"system {name}: its statistics area has no room for all {what}")
    return SystemStatus(
        system=name,
        state=abi.text_of(system.state),
        pid=statistics.pid,
        since=abi.text_of(system.since),
        config=abi.text_of(system.config),
        log=str(directory / "cp.log"),
        guests=tuple(_guest_status(guest, directory) for guest in statistics.guests),
        segments=tuple(
            SegmentStatus(
                name=abi.text_of(segment.name),
                file=segment.file,
                file_class=abi.text_of(segment.file_class),
                shm=abi.text_of(segment.shm),
                bytes=segment.size_bytes,
                guests=segment.users,
            )
            for segment in statistics.segments
        ),
    )


def _guest_status(guest: GuestStatistics, directory: Path) -> GuestStatus:
    slot = guest.slot
    log = directory / f"{guest.name}.log"
    failed = bool(slot.flags & abi.FAILED)
    reason = None
    if failed:
        reason = abi.text_of(slot.reason) if slot.flags & abi.REASONED or not slot.exit_status else log_tail(log)
    return GuestStatus(
        name=guest.name,
        engine=guest.engine,
        state=guest.state,
        since=iso_utc(slot.since_seconds),
        pid=guest.pid,
        segments=guest.segments,
        restarts=slot.restarts,
        exit_status=slot.exit_status if failed else None,
        reason=reason,
        log=str(log),
    )


def _checked_head(system: str, memory: memoryview) -> abi.AreaHead:
    """Return the head of an area whose layout is the one that this program knows."""
    head = abi.AreaHead._make(abi.HEAD.unpack_from(memory))
    wanted = abi.area_head(head.pid, head.guest_slots)
    if head != wanted or len(memory) < head.size_bytes:
        raise StatisticsError(
            f"system {system}: its statistics area has version {head.version} and {len(memory)} bytes, wanted version"
            f" {wanted.version} and {wanted.size_bytes}; another version of dcss runs it"
        )
    return head


def _guest(copy: bytes) -> GuestStatistics:
    slot = abi.GuestSlot._make(abi.GUEST_SLOT.unpack_from(copy))
    return GuestStatistics(slot, tuple(memoryview(copy).cast("Q")[abi.HYPERCALLS_WORD :]))


def _segment(copy: bytes) -> abi.SegmentSlot:
    return abi.SegmentSlot._make(abi.SEGMENT_SLOT.unpack_from(copy))


def _claim(copy: bytes) -> abi.ClaimSlot:
    return abi.ClaimSlot._make(abi.CLAIM_SLOT.unpack_from(copy))

"""Looks at a running system that its CP does not notice: its statistics area, and its memory by /proc."""

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from dcss.abi import statistics as abi
from dcss.abi.page import PAGE_SHIFT
from dcss.account.private_memory import PrivateMemory
from dcss.account.targets import AddressRange
from dcss.host.shm import SHM_DIRECTORY
from dcss.rpc.statistics import GuestStatistics, Statistics, StatisticsReader

if TYPE_CHECKING:
    from dcss.account.sharing import SharedPages, SharingCounter


class SystemLook(NamedTuple):
    """One look. None stands for what could not be seen.

    `private_bytes` has guests that have a process, by name; `resident_bytes` segments' objects, by name. `cpu_seconds`
    is what CP has taken of processors since its start, `cp_private_bytes` what only CP maps.
    """

    taken_at: float  # of the monotonic clock
    statistics: Statistics
    private_bytes: dict[str, int | None]
    resident_bytes: dict[str, int]
    cpu_seconds: float | None
    cp_private_bytes: int | None

    @property
    def system(self) -> str:
        """The system's name."""
        return abi.text_of(self.statistics.system.name)


class LiveSystem:
    """A running system whose CP is process `pid`, for as many looks as are wanted. Raises StatisticsError."""

    def __init__(self, system: str, pid: int) -> None:
        self.pid = pid
        self._memory = PrivateMemory()
        self._sharing: SharingCounter | None = None
        self._pidfd = os.pidfd_open(pid)
        try:
            self._reader = StatisticsReader(system, pid)
        except BaseException:
            os.close(self._pidfd)
            raise

    @property
    def lives(self) -> bool:
        """Its CP has not ended."""
        import select

        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        return not ended.poll(0)

    def look(self) -> SystemLook:
        """Take a look. Raises StatisticsError."""
        statistics = self._reader.read()
        private = self._memory.sample([self.pid, *(guest.pid for guest in statistics.guests if guest.pid is not None)])
        return SystemLook(
            time.monotonic(),
            statistics,
            {guest.name: private[guest.pid] for guest in statistics.guests if guest.pid is not None},
            dict(filter(None, map(_resident_bytes, statistics.segments))),
            _cpu_seconds(self.pid),
            private[self.pid],
        )

    def shared_pages(self, statistics: Statistics) -> "SharedPages | None":
        """Count the pages of segments that guests share; of those that have not run since, no page table is read."""
        from dcss.account.sharing import SharingCounter, SharingGuest

        if self._sharing is None:
            self._sharing = SharingCounter()
        guests = [SharingGuest(guest.pid, _areas(guest)) for guest in statistics.guests if guest.pid is not None]
        sizes = {(segment.device, segment.inode): segment.size_bytes >> PAGE_SHIFT for segment in statistics.segments}
        return self._sharing.count(guests, sizes)

    def close(self) -> None:
        """Detach."""
        self._reader.close()
        os.close(self._pidfd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _areas(guest: GuestStatistics) -> list[AddressRange]:
    slot = guest.slot
    window = [AddressRange(slot.window_start, slot.window_end)] if slot.flags & abi.IN_PLACE else []
    return [*window, AddressRange(slot.user_area_start, slot.user_area_end)]


def _resident_bytes(segment: abi.SegmentSlot) -> tuple[str, int] | None:
    name = abi.text_of(segment.shm)
    try:
        status = os.stat(f"{SHM_DIRECTORY}{name}")  # noqa: PTH116 - the name begins with a slash
    except OSError:
        return None
    return name, status.st_blocks * 512  # the kernel counts an object's pages in blocks of 512 bytes


def _cpu_seconds(pid: int) -> float | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

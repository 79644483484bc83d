"""What CP writes into its statistics area, and when: as things happen, and never because someone looks."""

import time
from collections.abc import Sequence

from dcss.abi import statistics as abi
from dcss.abi.hypercall import Reply, Request
from dcss.config.plan import SystemPlan
from dcss.cp.machine import RegisteredMachine
from dcss.cp.program import ControlProgram
from dcss.cp.segments.segment import Segment
from dcss.cp.statistics import StatisticsArea
from dcss.results import VerifyResult
from dcss.system.guest import FAILED_STATES, Guest
from dcss.system.instance import GuestInstance

_HEAD = (0, 0)  # sequence and check, which SlotWriter writes
_HEAD_BYTES = len(_HEAD) * abi.WORD.size
_HOLDS = {False: 0, True: 1, None: 2}


class StatisticsRecorder:
    """Writes the state of one system into its area; called in CP's loop."""

    def __init__(self, plan: SystemPlan, cp: ControlProgram, area: StatisticsArea) -> None:
        self._plan, self._cp, self._area = plan, cp, area
        self._index = {guest.name: index for index, guest in enumerate(plan.guests)}
        self._guests: dict[str, Guest] = {}
        self._slots: dict[Segment, int] = {}
        self._free_slots = list(reversed(range(len(area.tables.segments))))
        self._left_out: set[Segment] = set()
        for segment in cp.files.values():
            self.segment_changed(segment, None)

    def system_changed(self, phase: str, since: str, helper_pids: Sequence[int]) -> None:
        """Write what CP is at."""
        texts = [abi.encode(text) for text in (self._plan.name, phase, since, str(self._plan.path))]
        helpers = [*helper_pids, *[0] * abi.HELPERS][: abi.HELPERS]
        first_word = abi.LEFT_OUT_WORD + 1  # the counters before it go on
        packed = abi.SYSTEM_SLOT.pack(*[0] * first_word, *helpers, *texts)
        self._area.tables.system.write(packed[first_word * abi.WORD.size :], first_word)

    def requested(self) -> None:
        """Count a client's request."""
        self._area.tables.system.add(abi.REQUESTS_WORD)

    def hypercall(self, guest: str, request: Request, reply: Reply) -> None:
        """Count a guest's hypercall."""
        index = self._index.get(guest)
        if index is not None:
            word = abi.hypercall_word(request.diagnose, request.ry, reply.condition_code)
            self._area.tables.guests[index].add(abi.HYPERCALLS_WORD + word)

    def guest_changed(self, guest: Guest) -> None:
        """Write a guest's slot, all but its hypercalls."""
        self._guests[guest.name] = guest
        instance = guest.instance
        pid = next(iter(instance.pids), 0) if instance is not None else 0
        flags = exit_status = 0
        reason, is_cut = b"", False
        if guest.state in FAILED_STATES:
            flags |= abi.FAILED
            exit_status = guest.run_status
            if guest.reason or instance is None:
                flags |= abi.REASONED
                reason, is_cut = abi.fit(guest.reason, abi.REASON_BYTES)
        counters = instance.counters if instance is not None else None
        if counters is not None:
            flags |= abi.COUNTED
        areas = (0, 0, 0, 0)
        if pid and instance is not None and instance.running is not None:
            memory = instance.running.memory()
            areas = (memory.window.start, memory.window.end, memory.user_area.start, memory.user_area.end)
            flags |= abi.IN_PLACE if memory.in_place else 0
        machine = self._cp.machines.get(guest.name)
        loaded = [] if machine is None else [load.segment.version_name for load in machine.loads.values()]
        segments, are_cut = abi.fit(" ".join(loaded), abi.SEGMENTS_BYTES)
        flags |= abi.CUT if is_cut or are_cut else 0
        slot = abi.GuestSlot(
            *_HEAD,
            abi.encode(guest.name),
            abi.encode(guest.plan.engine),
            abi.encode(guest.state.value),
            flags,
            int(guest.since_seconds),
            pid,
            guest.restarts,
            exit_status,
            guest.plan.storage_bytes,
            *((0, 0, 0, 0) if counters is None else counters[:4]),
            *areas,
            segments,
            reason,
        )
        self._area.tables.guests[self._index[guest.name]].write(abi.GUEST_SLOT.pack(*slot)[_HEAD_BYTES:])

    def counters_changed(self, instance: GuestInstance) -> None:
        """Write what a guest counts of itself."""
        guest = self._guests.get(instance.name)
        if guest is not None and guest.instance is instance:
            self.guest_changed(guest)

    def segment_changed(self, segment: Segment, machine: RegisteredMachine | None) -> None:
        """Write a segment's slot, and that of the machine that has loaded or unloaded it.

        Without a machine, the segment itself has changed: its users have it loaded by another name where it is purged.
        """
        if segment.stored is None or self._cp.files.get(segment.spid) is not segment:
            self._free(segment)
        elif self._free_slots or segment in self._slots:
            if segment not in self._slots:
                self._slots[segment] = self._free_slots.pop()
            self._area.tables.segments[self._slots[segment]].write(_packed(segment)[_HEAD_BYTES:])
        elif segment not in self._left_out:
            self._left_out.add(segment)
            self._area.tables.system.add(abi.LEFT_OUT_WORD)
        for name in segment.users if machine is None else (machine.name,):
            if name in self._guests:
                self.guest_changed(self._guests[name])

    def _free(self, segment: Segment) -> None:
        slot = self._slots.pop(segment, None)
        if slot is not None:
            self._area.tables.segments[slot].write(bytes(abi.SEGMENT_SLOT.size - _HEAD_BYTES))
            self._free_slots.append(slot)
        if segment in self._left_out:
            self._left_out.remove(segment)
            self._area.tables.system.add(abi.LEFT_OUT_WORD, -1)

    def judged(self, verdict: VerifyResult) -> None:
        """Write the claims of a proof."""
        self._area.tables.system.add(abi.PROOFS_WORD)
        now = int(time.time())
        for slot, claim in zip(self._area.tables.claims, verdict.claims, strict=False):
            packed = abi.CLAIM_SLOT.pack(*_HEAD, abi.encode(claim.claim), claim.applies, _HOLDS[claim.holds], now)
            slot.write(packed[_HEAD_BYTES:])


def _packed(segment: Segment) -> bytes:
    stored, definition = segment.object, segment.definition
    slot = abi.SegmentSlot(
        *_HEAD,
        segment.spid,
        abi.encode(segment.version_name),
        abi.encode(segment.file_class.value),
        abi.encode(definition.ranges[0].type.name),
        stored.size_bytes,
        definition.start,
        len(segment.users),
        stored.device,
        stored.inode,
        abi.encode(stored.name),
    )
    return abi.SEGMENT_SLOT.pack(*slot)

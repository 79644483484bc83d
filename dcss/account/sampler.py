"""Accounts of one system again and again, cheaply: the books of guests that have not run since are not read anew.

A guest that sleeps is read without being stopped, which counts where it did not run meanwhile. Any other is held still.
What the kernel changes in a guest that sleeps (swap, KSM) shows when everything is read anew.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from dcss.account.accounts import Accounts, GuestSeen, huge_of_segments
from dcss.account.frames import hidden_because
from dcss.account.hold import Hold
from dcss.account.pagemap import Flags
from dcss.account.proc import family
from dcss.account.scan import ended_processes_named, not_held, read_guest
from dcss.account.space import ProcessPages
from dcss.account.targets import GuestTarget, StatedCounters, SystemTarget
from dcss.account.turns import Turns, turns_of
from dcss.results import MeasureResult

_ANEW_SECONDS: Final = 30.0


class _Known(NamedTuple):
    """What was seen of a guest, and the turns that its processes had had; None where it ran meanwhile."""

    guest: GuestTarget
    seen: GuestSeen
    turns: Turns | None

    @property
    def is_valid(self) -> bool:
        """Whether no process of the guest has run since."""
        return self.turns is not None and self.turns == turns_of(turn.pid for turn in self.turns)


class _Others(NamedTuple):
    """What all guests are seen against: where any of it changed, all of them are read anew."""

    system: SystemTarget  # without its guests
    guests: tuple[tuple[str, tuple[int, ...]], ...]
    turns: Turns | None


class Sampler:
    """Measures one system; it keeps what it saw of each guest. Calls come one at a time, from any thread."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._others: _Others | None = None
        self._spaces: tuple[ProcessPages, ...] = ()  # of processes that are neither CP nor a guest
        self._huge: Mapping[int, int | None] = {}
        self._anew_at = 0.0

    def sleeping(self) -> frozenset[str]:
        """Return the guests that have not run since they were seen last; the others are forgotten."""
        self._known = {name: known for name, known in self._known.items() if known.is_valid}
        return frozenset(self._known)

    def sample(
        self,
        system: SystemTarget,
        guest_counters: Mapping[str, StatedCounters | str | None],
        segment_users: Mapping[str, int],
        *,
        free_before_bytes: int | None = None,
    ) -> MeasureResult:
        """Return the accounts of `system`; arguments and errors as dcss.account.accounts.measure has them."""
        hidden = hidden_because()
        limits = [] if hidden is None else [hidden]
        with ended_processes_named(system):
            self._forget_changed(system)
            accounts = Accounts(system, guest_counters, segment_users, hidden=hidden, huge=self._huge)
            for space in self._spaces:
                accounts.add_other(space)
            self._read_sleeping(accounts, system.guests)
            moved = [guest for guest in system.guests if not self._is_valid(guest)]
            with Hold(pid for guest in moved for pid in guest.pids) as hold:
                for guest in moved:
                    self._known[guest.name] = _Known(guest, self._look_at(accounts, guest), None)
                for guest in system.guests:
                    accounts.add(self._known[guest.name].seen)
                accounts.count_own_frames()
        limits += not_held(system, hold)
        return accounts.result(limits, free_before_bytes)

    def _forget_changed(self, system: SystemTarget) -> None:
        """Forget guests that have changed since, or all of them where what they are seen against has."""
        turns = turns_of(system.other_pids)
        guests = tuple((guest.name, guest.pids) for guest in system.guests)
        others = _Others(replace(system, guests=()), guests, turns)
        now = time.monotonic()
        if turns is None or others != self._others or now >= self._anew_at:
            self._known.clear()
            self._others, self._anew_at = others, now + _ANEW_SECONDS
            self._huge = huge_of_segments(system)
            self._spaces = tuple(ProcessPages.read(pid) for pid in system.other_pids)
        targets = {guest.name: guest for guest in system.guests}
        self._known = {name: known for name, known in self._known.items() if targets.get(name) == known.guest}

    def _read_sleeping(self, accounts: Accounts, guests: Iterable[GuestTarget]) -> None:
        """Read guests that are not known, and sleep."""
        for guest in guests:
            turns = None if guest.name in self._known else turns_of(family(guest.pids))
            if turns is not None:
                self._known[guest.name] = _Known(guest, self._look_at(accounts, guest), turns)

    def _is_valid(self, guest: GuestTarget) -> bool:
        return guest.name in self._known and self._known[guest.name].is_valid

    def _look_at(self, accounts: Accounts, guest: GuestTarget) -> GuestSeen:
        seen = accounts.look_at(read_guest(guest))
        return seen._replace(mapped=self._kept(seen.mapped))

    def _kept(self, mapped: Flags | None) -> Flags | None:
        """Return the row of the first guest where this one is the same, as in most guests: it is kept once."""
        first = next(iter(self._known.values()), None)
        kept = None if first is None else first.seen.mapped
        if mapped is None or kept is None:
            return mapped
        return kept if np.array_equal(kept, mapped) else mapped

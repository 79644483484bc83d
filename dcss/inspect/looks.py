"""Look at processes that run, until two looks in a row see the same: nothing is stopped, so one proves nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dcss.account.accounts import Accounts
from dcss.account.scan import scan
from dcss.account.targets import Object, SystemTarget
from dcss.inspect.common import other_mappers
from dcss.inspect.processes import NamedProcess
from dcss.inspect.selection import Chosen
from dcss.inspect.target import populate, system_of, used_pages
from dcss.results import Claim
from dcss.verify.claims import books_close, one_frame
from dcss.verify.evidence import EvidenceFile
from dcss.verify.segment_view import SegmentView
from dcss.verify.snapshot import GuestView, Snapshot, SnapshotBuilder

MOST_LOOKS = 5

Look = TypeVar("Look")


@dataclass(frozen=True, slots=True, eq=False)
class PageLook:
    """One look at page tables: the system as it was then, what was seen, what follows, and who else maps what."""

    system: SystemTarget
    snapshot: Snapshot
    one_frame: Claim
    books_close: Claim
    others: dict[Object, dict[int, str]]

    @property
    def wrong_pages(self) -> int:
        """How many pages of processes stand in another frame than they should."""
        return sum(int(np.count_nonzero(pages.wrong)) for guest in self.snapshot.guests for pages in guest.segments)

    def facts(self) -> tuple[object, ...]:
        """Return what two looks must agree about: the judgement, and each page that stands in another frame."""
        return self.one_frame.holds, *(_facts(guest) for guest in self.snapshot.guests)


def _facts(guest: GuestView) -> tuple[object, ...]:
    wrong = tuple(np.packbits(pages.wrong).tobytes() for pages in guest.segments)
    return guest.denied, wrong


def until_two_agree(look: Callable[[], Look], facts: Callable[[Look], object]) -> tuple[Look, bool]:
    """Look again and again until two looks in a row agree about their facts; return the last, and whether they did."""
    last = look()
    for _ in range(MOST_LOOKS - 1):
        before, last = last, look()
        if facts(before) == facts(last):
            return last, True
    return last, False


class PageTables:
    """Reads the page tables of the processes again for each look."""

    def __init__(
        self,
        processes: Sequence[NamedProcess],
        chosen: Sequence[Chosen],
        evidence: EvidenceFile | None,
        hidden: str | None,
        *,
        named: bool,
    ) -> None:
        self._processes, self._chosen, self._named = processes, chosen, named
        self._evidence, self._hidden = evidence, hidden

    def account(self) -> Accounts:
        """Account for the processes; nothing should be mapped here yet, since that counts. Errors as `look`."""
        pages = used_pages(self._processes, self._chosen)
        system = system_of(self._processes, self._chosen, pages, named=self._named)
        users = {each.label: len(each.pids) for each in self._chosen}
        unstated = dict.fromkeys((guest.name for guest in system.guests), None)
        accounts = Accounts(system, unstated, users, hidden=self._hidden)
        scan(system, [accounts])
        accounts.count_own_frames()
        return accounts

    def look(self) -> PageLook:
        """Look once. Errors as dcss.account.scan has them."""
        objects = [each.opened.object for each in self._chosen]
        others = other_mappers(objects, (process.pid for process in self._processes))
        pages = used_pages(self._processes, self._chosen)
        populate(self._chosen, pages)
        bystanders = sorted({pid for found in others.values() for pid in found})
        system = system_of(self._processes, self._chosen, pages, bystanders=bystanders, named=self._named)
        segments = [SegmentView.of(segment) for segment in system.segments]
        builder = SnapshotBuilder(
            system, segments, frames=self._hidden is None, evidence=self._evidence, populated=True
        )
        scan(system, [builder])
        snapshot = builder.snapshot
        return PageLook(system, snapshot, one_frame.judge(snapshot), self._books_close(snapshot), others)

    def _books_close(self, snapshot: Snapshot) -> Claim:
        """Judge who maps the objects; files have no shares to add up, so without frames nothing can be said."""
        if self._hidden is None:
            return books_close.judge(snapshot)
        return Claim(books_close.NAME, None, f"how often each frame is mapped cannot be seen: {self._hidden}")

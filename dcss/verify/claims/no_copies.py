"""Claim 2, no-hidden-copies: no guest that shares keeps a page of a segment in memory of its own."""

from typing import Final, NamedTuple, Self

from dcss.account.targets import GUESTS, Origin, Terms
from dcss.results import Claim
from dcss.verify.search.results import Copies
from dcss.verify.segment_view import lost_contents
from dcss.verify.snapshot import Snapshot, denied_reasons
from dcss.verify.wording import count, first_few

NAME: Final = "no-hidden-copies"
_BUFFERS: Final = "buffers of a segment that can be written"
_BUFFERS_OF_LINUX: Final = "blocks of a file system itself, which whatever kernel mounts it keeps in buffers"
REFUTING: Final[frozenset[Origin]] = frozenset({"kernel", "process"})


def judge(snapshot: Snapshot) -> Claim:
    """Judge the claim from the search of memory: copies of a guest kernel refute, all others are listed.

    Buffers do not refute: what is mounted read-write has its metadata, and never its files, in the guest kernel's own
    memory, as on a real machine. So has what Linux itself mounts, in a virtual machine or as somebody else's image.
    """
    guests = snapshot.sharing
    terms = snapshot.terms
    if not guests:
        return Claim(NAME, None, "no guest is expected to share", applies=False)
    search = snapshot.search
    findings = [*search.others, *(search.guests[guest.target.name] for guest in guests)]
    copies = [copy for one in findings for copy in one.copies]
    own = Buffers.of(snapshot)
    buffers = [copy for copy in copies if own.hold(copy.holder, copy.segment, copy.path)]
    refuting = [str(copy) for copy in copies if copy.origin in REFUTING and copy not in buffers]
    if refuting:
        return Claim(NAME, False, first_few(refuting))
    unsearched = denied_reasons(guests)
    unsearched += [reason for one in findings for reason in (*one.denied, *one.unsearched, *one.kernel_held)]
    unsearched += lost_contents(snapshot.segments)
    if not search.contents:
        unsearched.append(f"no {terms.segment} has a page that could be told from others")
    if unsearched:
        return Claim(NAME, None, f"not all memory could be searched: {first_few(unsearched)}")
    # Shared memory may be held open without being mapped.
    closed = [reason for guest in snapshot.guests for reason in search.guests[guest.target.name].closed_descriptors]
    if closed:
        return Claim(NAME, None, f"not all descriptors could be seen: {closed[0]}")
    searched = sum(one.searched_pages for one in findings)
    holders = count(len(guests), terms.guest, terms.guests)
    if search.others:
        holders += f" and {_servers(len(search.others))}"
    by_linux = bool(own.holders) or terms is not GUESTS
    held = _holds(copies, buffers, terms, by_linux=by_linux)
    return Claim(NAME, True, f"{count(searched, 'private page')} of {holders}: {held}")


class Buffers(NamedTuple):
    """Where a kernel keeps a file system's own blocks in buffers, and rightly so: of which segments, and which kernels.

    Both are names, those of kernels as reports have them.
    """

    segments: frozenset[str]
    holders: frozenset[str]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """Return those of a system."""
        targets = [segment.target for segment in snapshot.segments]
        return cls(
            frozenset(target.name for target in targets if target.type.shared_writable or target.own_runs),
            frozenset(guest.target.label for guest in snapshot.guests if guest.target.buffering),
        )

    def hold(self, holder: str, segment: str, path: str | None) -> bool:
        """Say whether a copy is no more than that; those of files, which have a path, never are."""
        return path is None and (segment in self.segments or holder in self.holders)


def _servers(processes: int) -> str:
    """Name the processes that guests are forked from: templates, besides the fork server."""
    return "the fork server" if processes <= 1 else f"the {processes} processes that guests are forked from"


def _holds(copies: list[Copies], buffers: list[Copies], terms: Terms, *, by_linux: bool) -> str:
    modules = [str(copy) for copy in copies if copy.origin == "modules"]
    others = [str(copy) for copy in copies if copy not in buffers and copy.origin != "modules"]
    also = f"; not the guest kernels' own: {first_few(others)}" if others else ""
    if modules:
        also += f"; the kernel and its modules, which are always copied: {first_few(modules)}"
    if buffers:
        what = _BUFFERS_OF_LINUX if by_linux else _BUFFERS
        also += f"; {what}: {first_few([str(copy) for copy in buffers])}"
    return f"none holds a page of {'a segment' if terms is GUESTS else 'an object'}, at any byte offset{also}"

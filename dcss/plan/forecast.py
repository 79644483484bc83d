"""Forecast what guests cost that share a segment, by the definitions of `dcss measure`.

with sharing: the segment's bytes, all of which are resident. Without: what each guest maps, summed. Saved: the
difference. These follow from the image alone. Private memory is a model of this machine's engine process, whose numbers
were measured: what a guest's process writes to after its fork, and what it keeps for each file that it maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dcss.plan.candidates import Candidate
from dcss.plan.guests import deal
from dcss.plan.inputs.consumer import Consumer
from dcss.plan.results import Forecast, ForecastKind

CLONE_BYTES: Final = 452 << 10
FIRST_BYTES: Final = 1100 << 10  # it boots in full, and leaves the template that the others are cloned from
ALONE_BYTES: Final = 3730 << 10  # it boots in full, and leaves no template
FILE_BYTES: Final = 80


@dataclass(slots=True)
class GuestKind:
    """Guests that use the same of the chosen files; `consumers` are the numbers of those that they stand for."""

    name: str
    consumers: list[int]
    files: list[Candidate]

    @property
    def shared_bytes(self) -> int:
        """What one of them maps of the segment."""
        return sum(candidate.size_bytes for candidate in self.files)


def kinds_of(chosen: Sequence[Candidate], consumers: Sequence[Consumer]) -> list[GuestKind]:
    """Return the kinds of guests; consumers that use none of the chosen files are in none."""
    kinds: dict[tuple[int, ...], GuestKind] = {}
    names: set[str] = set()
    for number, consumer in enumerate(consumers):
        used = tuple(place for place, candidate in enumerate(chosen) if number in candidate.uses)
        if not used:
            continue
        if used not in kinds:
            kinds[used] = GuestKind(_guest_name(consumer.name, names), [], [chosen[place] for place in used])
        kinds[used].consumers.append(number)
    return list(kinds.values())


_NAME_LETTERS: Final = 4  # leaves four digits for the number of a guest
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _guest_name(name: str, taken: set[str]) -> str:
    """Return a name of letters after the consumer's, that no other kind has."""
    stem = "".join(letter for letter in name.upper() if letter in _LETTERS)[:_NAME_LETTERS] or "G"
    number, unique = 0, stem
    while unique in taken:
        number += 1
        digits, rest = "", number
        while rest:
            rest, place = divmod(rest - 1, len(_LETTERS))
            digits = _LETTERS[place] + digits
        unique = stem[: _NAME_LETTERS - len(digits)] + digits
    taken.add(unique)
    return unique


def guests_of_kinds(guests: int, kinds: Sequence[GuestKind], consumers: Sequence[Consumer]) -> list[int]:
    """Return how many of so many guests each kind gets."""
    return deal(guests, [sum(consumers[number].guests for number in kind.consumers) for kind in kinds])


def forecast(guests: int, kinds: Sequence[GuestKind], consumers: Sequence[Consumer], image_bytes: int) -> Forecast:
    """Return the forecast for so many guests."""
    counts = guests_of_kinds(guests, kinds, consumers)
    without_bytes = sum(count * kind.shared_bytes for count, kind in zip(counts, kinds, strict=True))
    rows = [_row(kind, count, consumers) for kind, count in zip(kinds, counts, strict=True) if count]
    touched_bytes = _touched_bytes(kinds, counts)
    return Forecast(
        guests=guests,
        kinds=tuple(rows),
        private_bytes=sum(row.private_bytes for row in rows),
        shared_bytes=without_bytes,
        without_sharing_bytes=without_bytes,
        with_sharing_bytes=image_bytes,
        saved_bytes=without_bytes - image_bytes,
        touched_saved_bytes=None if touched_bytes is None else touched_bytes - image_bytes,
    )


def _row(kind: GuestKind, count: int, consumers: Sequence[Consumer]) -> ForecastKind:
    return ForecastKind(
        name=kind.name,
        inputs=tuple(consumers[number].name for number in kind.consumers),
        guests=count,
        files=len(kind.files),
        private_bytes=private_bytes(count, len(kind.files)),
        shared_bytes=count * kind.shared_bytes,
    )


def private_bytes(guests: int, files: int) -> int:
    """Return what guests of one entry that map so many files each have for themselves on this machine."""
    first_bytes = ALONE_BYTES if guests == 1 else FIRST_BYTES
    return first_bytes + (guests - 1) * CLONE_BYTES + guests * files * FILE_BYTES


def _touched_bytes(kinds: Sequence[GuestKind], counts: Sequence[int]) -> int | None:
    """Return what guests touch together, where each touches what its input did; of several inputs, their mean."""
    total = 0
    for kind, count in zip(kinds, counts, strict=True):
        touched_bytes = 0
        for candidate in kind.files:
            for number in kind.consumers:
                touched = candidate.touched_bytes(number)
                if touched is None:
                    return None
                touched_bytes += touched
        total += count * touched_bytes // len(kind.consumers)
    return total

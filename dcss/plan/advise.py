"""Say what belongs into a segment: from consumers to candidates, a choice, forecasts and a result."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from dcss.abi.extmem import MAX_DCSS_ADDR, MAX_DCSS_BYTES, SEGMENT_SIZE, PageRange, SegmentType
from dcss.abi.page import PAGE_SHIFT
from dcss.errors import ConfigError
from dcss.plan.candidates import Candidate, candidates_of
from dcss.plan.forecast import GuestKind, forecast, kinds_of
from dcss.plan.guests import deal
from dcss.plan.inputs.consumer import Consumer
from dcss.plan.results import Advice, AdviceInput, AdvisedFile, AdvisedSegment, Choice, Method
from dcss.plan.selection import Selection, claim_paths, select

ADDRESS_UNIT = 256 << 20
PART_BYTES = MAX_DCSS_BYTES // (2 << 20) * (2 << 20)  # of a segment that goes on in another one


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for: the budget, the numbers of guests, how many must use a file, and where the segment lies."""

    budget_bytes: int | None = None
    guests: tuple[int, ...] = ()
    min_users: int = 2
    storage_bytes: int = 64 << 20
    segment: str = "LIB"


@dataclass(frozen=True, slots=True)
class Plan:
    """What was chosen and for whom, to be written as YAML, and the advice that is reported."""

    wishes: Wishes
    consumers: tuple[Consumer, ...]
    selection: Selection
    kinds: tuple[GuestKind, ...]
    segments: tuple["PlacedSegment", ...]
    advice: Advice


@dataclass(frozen=True, slots=True)
class PlacedSegment:
    """One segment: its address, and how much of the image lies in it."""

    name: str
    address: int
    size_bytes: int

    @property
    def defseg(self) -> str:
        """CP's command that defines it, in whole megabytes, in which z/VM shares storage."""
        end = -(-(self.address + self.size_bytes) // SEGMENT_SIZE) * SEGMENT_SIZE
        pages = PageRange(self.address >> PAGE_SHIFT, (end >> PAGE_SHIFT) - 1, SegmentType.SR)
        return f"DEFSEG {self.name} {pages}"


DEFAULT_FORECASTS = (10, 100, 1000)


def advise(consumers: Sequence[Consumer], wishes: Wishes, notes: Sequence[str] = ()) -> Plan:
    """Return what belongs into a segment for these consumers, and what that saves.

    Raises ConfigError where nothing does or the budget is too small, ImageError where files cannot be read.
    """
    weights = [consumer.guests for consumer in consumers]
    total = sum(weights)
    guests = wishes.guests or ((total, *DEFAULT_FORECASTS) if total > 1 else DEFAULT_FORECASTS)
    counts = deal(guests[0], weights)
    said = list(notes)
    found = candidates_of(consumers)
    common = [each for each in found if _users(each, weights) >= min(wishes.min_users, total)]
    if not common:
        raise _nothing_common(consumers, found, wishes)
    candidates = claim_paths(common, counts, said)
    if not candidates:
        raise ConfigError(
            f"{_named(consumers)}: found {len(common)} files in common, none of which {guests[0]}"
            f" guest{'s' * (guests[0] > 1)} would touch enough of to pay for its place, wanted at least one; give"
            " --guests more"
        )
    address = -(-wishes.storage_bytes // ADDRESS_UNIT) * ADDRESS_UNIT
    selection = select(candidates, consumers, counts, address=address, budget_bytes=wishes.budget_bytes)
    kinds = kinds_of(selection.chosen, consumers)
    segments = _placed(wishes.segment, address, selection.image.size_bytes)
    said += selection.image.notes
    advice = Advice(
        inputs=tuple(map(_input, consumers)),
        files=_files(candidates, selection, consumers, counts),
        segment=_segment(segments, selection),
        choice=_choice(selection, wishes),
        forecasts=tuple(forecast(number, kinds, consumers, selection.image.size_bytes) for number in guests),
        notes=tuple(said),
    )
    return Plan(wishes, tuple(consumers), selection, tuple(kinds), tuple(segments), advice)


def _users(candidate: Candidate, weights: Sequence[int]) -> int:
    return sum(weights[number] for number in candidate.uses)


def _named(consumers: Sequence[Consumer]) -> str:
    shown = ", ".join(consumer.source for consumer in consumers[:3])
    return f"{shown} and {len(consumers) - 3} more" if len(consumers) > 3 else shown


def _nothing_common(consumers: Sequence[Consumer], found: Sequence[Candidate], wishes: Wishes) -> ConfigError:
    if not found:
        return ConfigError(f"{_named(consumers)}: found no file with content, wanted at least one")
    return ConfigError(
        f"{_named(consumers)}: found {len(found)} files, none of which {wishes.min_users} or more of them would use,"
        " wanted files in common; --min-users 1 takes what one uses"
    )


def _placed(name: str, address: int, image_bytes: int) -> list[PlacedSegment]:
    """Return the segments that hold an image of this size, one behind the other. Raises ConfigError."""
    if address + image_bytes > MAX_DCSS_ADDR:
        raise ConfigError(
            f"segment {name}: found an end at {address + image_bytes:#x}, wanted at most {MAX_DCSS_ADDR:#x}; give"
            " --size or --storage less"
        )
    if image_bytes <= MAX_DCSS_BYTES:
        return [PlacedSegment(name, address, image_bytes)]
    starts = range(0, image_bytes, PART_BYTES)
    return [
        PlacedSegment(_part_name(name, number), address + start, min(PART_BYTES, image_bytes - start))
        for number, start in enumerate(starts, 1)
    ]


def _part_name(name: str, number: int) -> str:
    return f"{name[: 8 - len(str(number))]}{number}"


def _input(consumer: Consumer) -> AdviceInput:
    referenced = [file.referenced_bytes for file in consumer.files if file.referenced_bytes is not None]
    return AdviceInput(
        name=consumer.name,
        kind=consumer.kind,
        source=consumer.source,
        guests=consumer.guests,
        files=len(consumer.files),
        bytes=consumer.size_bytes,
        touched_bytes=consumer.touched_bytes,
        referenced_bytes=sum(referenced) if referenced else None,
    )


def _files(
    candidates: Sequence[Candidate], selection: Selection, consumers: Sequence[Consumer], counts: Sequence[int]
) -> tuple[AdvisedFile, ...]:
    """Return the candidates, those that save most first."""
    chosen = set(selection.chosen)
    rows = [_file(each, consumers, counts, chosen=each in chosen) for each in candidates]
    return tuple(sorted(rows, key=lambda row: (not row.chosen, -row.saved_bytes, row.path)))


def _file(candidate: Candidate, consumers: Sequence[Consumer], counts: Sequence[int], *, chosen: bool) -> AdvisedFile:
    touched = [candidate.touched_bytes(number) for number in candidate.uses]
    known = [size_bytes for size_bytes in touched if size_bytes is not None]
    touched_bytes = sum(known) // len(known) if len(known) == len(touched) else None
    return AdvisedFile(
        path=os.fsdecode(candidate.path),
        paths=tuple(map(os.fsdecode, candidate.paths)),
        bytes=candidate.size_bytes,
        inputs=tuple(consumers[number].name for number in candidate.uses),
        guests=sum(counts[number] for number in candidate.uses),
        touched_bytes=touched_bytes,
        untouched_bytes=None if touched_bytes is None else candidate.size_bytes - touched_bytes,
        saved_bytes=candidate.saved_bytes(counts),
        chosen=chosen,
    )


def _segment(segments: Sequence[PlacedSegment], selection: Selection) -> AdvisedSegment:
    return AdvisedSegment(
        names=tuple(segment.name for segment in segments),
        address=segments[0].address,
        bytes=selection.image.size_bytes,
        files=len(selection.chosen),
        file_bytes=sum(candidate.size_bytes for candidate in selection.chosen),
        defseg=tuple(segment.defseg for segment in segments),
    )


def _choice(selection: Selection, wishes: Wishes) -> Choice:
    filling = selection.filling
    solved: Method = "dynamic programming" if filling.exact else "dynamic programming in units"
    return Choice(
        budget_bytes=wishes.budget_bytes,
        method="everything" if wishes.budget_bytes is None else solved,
        exact=filling.exact,
        saved_bytes=filling.worth,
        bound_bytes=filling.bound,
    )

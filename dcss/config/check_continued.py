"""Check images that lie over several segments: `continues:` names the segment whose image goes on in another one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dcss.abi.extmem import SEGMENT_SIZE
from dcss.config.draft import Draft
from dcss.config.models import SegmentModel
from dcss.config.names import device_segments
from dcss.config.placement import continued_by, end_types_of, has_end, joined_segments, own_placement, placements_of
from dcss.config.problems import FieldProblem, Location
from dcss.suggest import did_you_mean


class _Entry(NamedTuple):
    """A segment and its number in the file."""

    number: int
    segment: SegmentModel

    @property
    def name(self) -> str:
        return self.segment.name

    def at(self, *keys: str) -> Location:
        return ("segments", self.number, *keys)

    def place(self, placed_by: str) -> Location:
        """Return the location of the key that says where it lies: `define:`, or else the one given."""
        return self.at(placed_by if self.segment.define is None else "define")

    def sound(self, draft: Draft) -> bool:
        return all(draft.sound(*self.at(key)) for key in ("define", "at", "type", "size", "image"))


def check_continued(draft: Draft) -> Iterator[FieldProblem]:
    """Yield what is wrong with images that lie over several segments."""
    segments = draft.model.segments
    entries = [_Entry(number, segment) for number, segment in enumerate(segments)]
    by_name = {entry.name: entry for entry in reversed(entries)}  # of two of a name the first counts
    continued: dict[str, str] = {}
    for entry in entries:
        name = continued_by(entry.segment)
        if name is None or not draft.sound(*entry.at("image")):
            continue
        if "save" in entry.segment.model_fields_set:
            wanted = "it only beside the image itself, with which this segment is saved"
            yield FieldProblem(entry.at("save"), "save: beside continues:", wanted)
        where = entry.at("image", "continues")
        if name not in by_name:
            if all(draft.sound(*other.at("name")) for other in entries):
                mends = did_you_mean(name, [other.name for other in entries if other is not entry])
                yield FieldProblem(where, f"'{name}'", "a segment of this file whose image goes on here", mends)
        elif name in continued:
            wanted = f"each segment continued by one (segment {continued[name]} continues it)"
            yield FieldProblem(where, f"'{name}' again", wanted, f"continue {continued[name]}")
        elif _leads_back(by_name, entry):
            yield FieldProblem(where, f"'{name}', which leads back here", "a segment whose image begins elsewhere")
        else:
            continued[name] = entry.name
            if entry.sound(draft) and by_name[name].sound(draft):
                yield from _check_border(segments, by_name[name], entry)


def devices_in_part(draft: Draft) -> Iterator[FieldProblem]:
    """Yield each device that has some of the segments that one image lies over, and not all of them."""
    groups = [names for names in joined_segments(draft.model.segments) if len(names) > 1]
    for index, guest in enumerate(draft.model.guests):
        for number, device in enumerate(guest.dcssblk or ()):
            members = set(device_segments(device))
            for names in groups:
                if members & set(names) and not members >= set(names):
                    whole = ":".join(names)
                    found = f"'{device}' has a part of the image over {whole}, so that most of its files cannot be read"
                    yield FieldProblem(("guests", index, "dcssblk", number), found, "", f"one device of all: {whole}")


def _leads_back(by_name: dict[str, _Entry], entry: _Entry) -> bool:
    """Say whether the segments that `entry` continues, one after the other, end in itself."""
    seen: set[str] = set()
    name = continued_by(entry.segment)
    while name in by_name and name not in seen:
        seen.add(name)
        name = continued_by(by_name[name].segment)
    return entry.name in seen


def _check_border(segments: Sequence[SegmentModel], lower: _Entry, upper: _Entry) -> Iterator[FieldProblem]:
    """Yield what is wrong with a segment and the one that continues it: dcssblk wants them to adjoin, of one type."""
    if lower.segment.image is None:
        found = f"segment {lower.name}, which has no image:"
        yield FieldProblem(upper.at("image", "continues"), found, "one whose image goes on here")
    elif not has_end(lower.segment):
        wanted = f"a size, since the image goes on in {upper.name} where this one ends"
        yield FieldProblem(lower.at("size"), "auto", wanted)
    else:
        placement = placements_of(segments).get(lower.name)
        if placement is not None:
            yield from _check_place(lower, upper, placement.end + 1)
        types = end_types_of(segments)
        found_type, wanted_type = types[upper.name][0], types[lower.name][1]
        if found_type is not wanted_type:
            wanted = f"{wanted_type.name}, as {lower.name} has: one device has one type"
            yield FieldProblem(upper.place("type"), f"type {found_type.name}", wanted)


def _check_place(lower: _Entry, upper: _Entry, end: int) -> Iterator[FieldProblem]:
    """Yield what is wrong with where `upper` begins; `end` is the address behind `lower`."""
    placement = own_placement(upper.segment)
    if end % SEGMENT_SIZE:
        wanted = f"an end at a whole megabyte: {upper.name} begins there, and a guest that loads both shares none"
        yield FieldProblem(lower.place("size"), f"an end at {end:#x}", wanted)
    elif placement is not None and placement.start != end:
        distance = f"{abs(placement.start - end):#x} bytes {'behind' if placement.start > end else 'before'} the end"
        found = f"a start at {placement.start:#x}, {distance} of {lower.name}"
        mends = "leave at: out, and it begins there" if upper.segment.define is None else ""
        yield FieldProblem(upper.place("at"), found, f"{end:#x}, where {lower.name} ends", mends)

"""QUERY NSS: system data files as z/VM's columns show them, and the same as data.

Headers and widths: IBM's "Device Drivers, Features, and Commands", DCSS chapter (MAP); public captures (the list
without options, whose RECS are 4 digits or thousands as 033K); "CP Commands and Utilities Reference" (ATTRIBUTES).
Unconfirmed: how USERS looks, how further ranges of one file continue, and pages of more than 5 digits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType
from dcss.cp.requests import QueryForm, Row
from dcss.cp.segments.segment import FileClass, Segment

NOT_APPLICABLE = "N/A"
_LIST_HEADER = "OWNERID  FILE TYPE CL RECS DATE  TIME     FILENAME FILETYPE ORIGINID"
_MAP_HEADER = "FILE FILENAME FILETYPE MINSIZE BEGPAG ENDPAG TYPE CL #USERS PARMREGS VMGROUP"
_ATTRIBUTES_HEADER = "FILE FILENAME FILETYPE CL ATTRIBUTES"
_USERS_HEADER = "FILE FILENAME FILETYPE CL USERS"
_USERS_PER_LINE = 6
_NAMES_IN_LINE = 4


def rows(segments: Iterable[Segment]) -> list[Row]:
    """Return what is known of system data files, for `--json`; pages are page numbers, both inclusive."""
    return [
        {
            "file": segment.spid,
            "name": str(segment.name),
            "filetype": _file_type(segment),
            "class": segment.file_class.value,
            "ranges": [
                {"first_page": each.first_page, "last_page": each.last_page, "type": each.type.name}
                for each in segment.definition.ranges
            ],
            "attributes": _attributes(segment),
            "users": sorted(segment.users),
            "originid": segment.owner,
            "created": segment.created,
            "saved": segment.saved_digest is not None,
            "sha256": segment.saved_digest or segment.digest,
            "shm": None if segment.stored is None else segment.stored.name,
        }
        for segment in segments
    ]


def definition_of(row: Row) -> SegmentDefinition:
    """Return the name and the ranges of a file that `rows` describes, without its attributes."""
    ranges: Any = row["ranges"]
    return SegmentDefinition(
        SegmentName(str(row["name"])),
        tuple(PageRange(each["first_page"], each["last_page"], SegmentType[each["type"]]) for each in ranges),
    )


def list_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield QUERY NSS without options."""
    yield _LIST_HEADER
    for segment in segments:
        moment = datetime.fromisoformat(segment.created).astimezone()
        yield (
            f"*NSS     {segment.spid:04d} NSS  {segment.file_class:<2} {_records(segment)} {moment:%m/%d %H:%M:%S}"
            f" {segment.name:<8} {'DCSS':<8} {segment.owner}"  # the longer file types stand in MAP and ATTRIBUTES
        )


def map_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield QUERY NSS MAP: one line per range, the first with the file's own columns."""
    yield _MAP_HEADER
    for segment in segments:
        first, *others = segment.definition.ranges
        yield (
            f"{segment.spid:04d} {segment.name:<8} {_file_type(segment):<8} {NOT_APPLICABLE:<7} {_range_columns(first)}"
            f" {segment.file_class:<2}  {len(segment.users):05d} {NOT_APPLICABLE:<8} {NOT_APPLICABLE}"
        )
        for other in others:
            yield " " * 31 + _range_columns(other).rstrip()


def attribute_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield QUERY NSS ATTRIBUTES."""
    yield _ATTRIBUTES_HEADER
    for segment in segments:
        yield f"{_file_columns(segment)} {' '.join(_attributes(segment))}".rstrip()


def user_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """Yield QUERY NSS USERS."""
    yield _USERS_HEADER
    for segment in segments:
        users = sorted(segment.users)
        yield f"{_file_columns(segment)} {len(users):05d}"
        for start in range(0, len(users), _USERS_PER_LINE):
            yield "     " + " ".join(f"{user:<8}" for user in users[start : start + _USERS_PER_LINE]).rstrip()


def _file_columns(segment: Segment) -> str:
    return f"{segment.spid:04d} {segment.name:<8} {_file_type(segment):<8} {segment.file_class:<2}"


def _range_columns(page_range: PageRange) -> str:
    first, last = f"{page_range.first_page:05X}", f"{page_range.last_page:05X}"
    return f"{first:<6} {last:<6} {page_range.type.name:<4}"


def _file_type(segment: Segment) -> str:
    # CP's own segments (MONDCSS) are the ones that CP writes to.
    written_by_cp = any(each.type is SegmentType.SC for each in segment.definition.ranges)
    return "CPDCSS" if written_by_cp else "DCSS"


def _attributes(segment: Segment) -> list[str]:
    definition = segment.definition
    named = {
        "LOADNSHR": definition.load_non_shared,
        "RSTD": definition.restricted,
        "SECURE": definition.secure,
    }
    return [word for word, present in named.items() if present]


def _records(segment: Segment) -> str:
    # One record a page that is saved, and the descriptor page.
    pages = 1 + sum(each.pages for each in segment.definition.ranges if each.type.saved)
    if segment.file_class is FileClass.SKELETON:
        pages = 1
    return f"{pages:04d}" if pages < 10_000 else f"{pages >> 10:03d}K"


LINES: Mapping[QueryForm, Callable[[Iterable[Segment]], Iterator[str]]] = {
    QueryForm.LIST: list_lines,
    QueryForm.MAP: map_lines,
    QueryForm.USERS: user_lines,
    QueryForm.ATTRIBUTES: attribute_lines,
}


def names(userids: Sequence[str]) -> Iterator[str]:
    """Yield the lines of QUERY NAMES: four users in each, all disconnected, since none has a terminal."""
    for first in range(0, len(userids), _NAMES_IN_LINE):
        yield ", ".join(f"{userid:<8} - DSC " for userid in userids[first : first + _NAMES_IN_LINE]).rstrip()

"""DEFSEG's words: NAME HEXPAGE1-HEXPAGE2 TYPE [HEXPAGE1-HEXPAGE2 TYPE ...] [LOADNSHR | RSTD] [SECURE].

Source: z/VM's "CP Commands and Utilities Reference", DEFSEG. Segment spaces (SPACE) do not exist here.
"""

import re
from collections.abc import Sequence

from dcss.abi.extmem import PageRange, SegmentDefinition, SegmentName, SegmentType
from dcss.cp.console import messages
from dcss.cp.console.messages import CommandError

_PAGES = re.compile(r"([0-9A-F]{1,13})-([0-9A-F]{1,13})", re.ASCII)
_OPTIONS = {"LOADNSHR": "load_non_shared", "RSTD": "restricted", "SECURE": "secure"}


def parse_definition(words: Sequence[str]) -> SegmentDefinition:
    """Read the operands of DEFSEG, in upper case. Ranges may come in any order. Raises CommandError."""
    if len(words) < 3:
        raise CommandError(messages.MISSING_OPERAND)
    name = parse_name(words[0])
    ranges: list[PageRange] = []
    position = 1
    while position < len(words) and "-" in words[position]:
        ranges.append(_range(words[position], words[position + 1 : position + 2]))
        position += 2
    if not ranges:
        raise CommandError(messages.INVALID_HEXDATA, hexdata=words[1])
    options = _options(words[position:])
    if {"load_non_shared", "restricted"} <= options:
        raise CommandError(messages.CONFLICTING_OPTION, option="RSTD")
    try:
        return SegmentDefinition(
            name,
            tuple(sorted(ranges, key=lambda page_range: page_range.first_page)),
            load_non_shared="load_non_shared" in options,
            restricted="restricted" in options,
            secure="secure" in options,
        )
    except ValueError as error:
        raise CommandError(messages.BAD_DEFINITION, reason=error) from error


def parse_name(word: str) -> SegmentName:
    """Read a segment's name. Raises CommandError."""
    try:
        return SegmentName(word)
    except ValueError as error:
        raise CommandError(messages.INVALID_OPERAND, operand=word) from error


def parse_names(words: str) -> tuple[SegmentName, ...]:
    """Read the names of a device's segments, a colon between them, each once. Raises CommandError."""
    names = tuple(map(parse_name, words.split(":")))
    if len(set(names)) < len(names):
        raise CommandError(messages.INVALID_OPERAND, operand=words)
    return names


def definition_words(definition: SegmentDefinition) -> str:
    """Return the operands of the DEFSEG that makes this definition, as extmem's segment_save writes them: %lX-%lX."""
    ranges = [f"{each.first_page:X}-{each.last_page:X} {each.type.name}" for each in definition.ranges]
    options = [word for word, field in _OPTIONS.items() if getattr(definition, field)]
    return " ".join([definition.name, *ranges, *options])


def _range(pages: str, kind: Sequence[str]) -> PageRange:
    match = _PAGES.fullmatch(pages)
    if match is None:
        raise CommandError(messages.INVALID_HEXDATA, hexdata=pages)
    if not kind:
        raise CommandError(messages.MISSING_OPERAND)
    if kind[0] not in SegmentType.__members__ or kind[0] == SegmentType.EWEN.name:
        raise CommandError(messages.INVALID_OPTION, option=kind[0])
    try:
        return PageRange(int(match[1], 16), int(match[2], 16), SegmentType[kind[0]])
    except ValueError as error:
        raise CommandError(messages.INVALID_HEXDATA, hexdata=pages) from error


def _options(words: Sequence[str]) -> set[str]:
    for position, word in enumerate(words):
        if word not in _OPTIONS:
            raise CommandError(messages.INVALID_OPTION, option=word)
        if word in words[:position]:
            raise CommandError(messages.CONFLICTING_OPTION, option=word)
    return {_OPTIONS[word] for word in words}

"""CP's commands, as an operator or a guest gives them: a table of words, shortest forms and privilege classes.

A line becomes a request of dcss.cp.requests, or is refused with a message whose number is the return code.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dcss.cp.console import messages
from dcss.cp.console.definition import parse_definition, parse_name
from dcss.cp.console.messages import CommandError
from dcss.cp.requests import (
    ALL_FILES,
    Define,
    FileSelection,
    Issuer,
    OperatorRequest,
    Purge,
    Query,
    QueryForm,
    QueryNames,
    QueryUserid,
    Save,
    Store,
)

_ADDRESS = re.compile(r"[0-9A-F]{1,16}", re.ASCII)
_DATA = re.compile(r"([0-9A-F]{2})+", re.ASCII)
_SHORTEST_FORMS = {QueryForm.MAP: 3, QueryForm.USERS: 4, QueryForm.ATTRIBUTES: 4}


@dataclass(frozen=True, slots=True)
class Command:
    """One word of CP: its name, how many letters suffice, the classes that may use it, what for, and how."""

    name: str
    shortest: int
    privileges: frozenset[str]
    purpose: str
    usage: str
    parse: Callable[[Issuer, Sequence[str]], OperatorRequest]


def parse_command(line: str, issuer: Issuer) -> OperatorRequest | None:
    """Return what a line asks for, None for an empty one and a comment. Raises CommandError."""
    words = command_words(line)
    if not words or words[0].startswith("*"):  # a comment, for logs and scripts
        return None
    command = find_command(words[0])
    if command is None or not command.privileges & issuer.privileges:  # CP answers both alike
        raise CommandError(messages.UNKNOWN_COMMAND, command=words[0])
    return command.parse(issuer, words[1:])


def command_words(line: str) -> list[str]:
    """Return the words of a line in upper case, without the CP or #CP that a user's line may begin with."""
    words = line.upper().split()
    while words and words[0] in {"CP", "#CP"}:
        del words[0]
    return words


def find_command(word: str) -> Command | None:
    """Return the command that a word in upper case, perhaps abbreviated, stands for."""
    return next((each for each in COMMANDS if _abbreviates(word, each.name, each.shortest)), None)


def _abbreviates(word: str, name: str, shortest: int) -> bool:
    return len(word) >= shortest and name.startswith(word)


def _defseg(_: Issuer, words: Sequence[str]) -> Define:
    return Define(parse_definition(words))


def _saveseg(_: Issuer, words: Sequence[str]) -> Save:
    if not words:
        raise CommandError(messages.MISSING_OPERAND)
    if len(words) > 1:
        raise CommandError(messages.EXTRA_OPTIONS, option=words[1])
    return Save(parse_name(words[0]))


def _purge(_: Issuer, words: Sequence[str]) -> Purge:
    operands = _after_nss(words)
    if not operands:
        raise CommandError(messages.MISSING_OPERAND)
    files, rest = _selection(operands)
    if rest:
        raise CommandError(messages.EXTRA_OPTIONS, option=rest[0])
    return Purge(files)


def _query(issuer: Issuer, words: Sequence[str]) -> Query | QueryNames | QueryUserid:
    if words and _abbreviates(words[0], "USERID", 6):
        if len(words) > 1:
            raise CommandError(messages.EXTRA_OPTIONS, option=words[1])
        return QueryUserid()
    if words and _abbreviates(words[0], "NAMES", 3):
        if len(words) > 1:
            raise CommandError(messages.EXTRA_OPTIONS, option=words[1])
        return QueryNames()
    if "E" not in issuer.privileges:
        raise CommandError(messages.INVALID_QUERY, option=" ".join(words[:1]))
    files, rest = _selection(_after_nss(words))
    form = QueryForm.LIST
    for word in rest:
        asked = next((each for each, shortest in _SHORTEST_FORMS.items() if _abbreviates(word, each, shortest)), None)
        if asked is None:
            raise CommandError(messages.INVALID_QUERY, option=word)
        if form is not QueryForm.LIST:
            raise CommandError(messages.CONFLICTING_OPTION, option=word)
        form = asked
    return Query(files, form)


def _store(_: Issuer, words: Sequence[str]) -> Store:
    operands = _after_nss(words)
    if len(operands) < 3:
        raise CommandError(messages.MISSING_OPERAND)
    name = parse_name(operands[0])
    if not _ADDRESS.fullmatch(operands[1]):
        raise CommandError(messages.INVALID_HEXDATA, hexdata=operands[1])
    for word in operands[2:]:
        if not _DATA.fullmatch(word):
            raise CommandError(messages.INVALID_HEXDATA, hexdata=word)
    return Store(name, int(operands[1], 16), bytes.fromhex("".join(operands[2:])))


def _after_nss(words: Sequence[str]) -> Sequence[str]:
    if not words:
        raise CommandError(messages.MISSING_OPERAND)
    if words[0] != "NSS":
        raise CommandError(messages.INVALID_QUERY, option=words[0])
    return words[1:]


def _selection(operands: Sequence[str]) -> tuple[FileSelection, Sequence[str]]:
    """Return which files ALL, NAME name or a file number means, and the operands after it."""
    first = operands[0] if operands else ""
    if first == "NAME":
        if len(operands) < 2:
            raise CommandError(messages.MISSING_OPERAND)
        return FileSelection(name=parse_name(operands[1])), operands[2:]
    if first.isascii() and first.isdigit():
        return FileSelection(number=first), operands[1:]
    return ALL_FILES, operands[1:] if first == "ALL" else operands


COMMANDS = (
    Command(
        "DEFSEG",
        6,
        frozenset("E"),
        "defines a saved segment as a skeleton, which SAVESEG fills",
        "DEFSEG name page-page type [...] [LOADNSHR | RSTD] [SECURE]",
        _defseg,
    ),
    Command(
        "SAVESEG",
        7,
        frozenset("E"),
        "saves storage as the content of a skeleton",
        "SAVESEG name",
        _saveseg,
    ),
    Command(
        "PURGE",
        3,
        frozenset("E"),
        "removes segments; those in use stay for their users",
        "PURGE NSS {ALL | NAME name | file}",
        _purge,
    ),
    # z/VM's own STORE (host storage) is class C too; which words it would take for a segment is not in public sources.
    Command(
        "STORE",
        3,
        frozenset("C"),
        "writes bytes into pages of type SC",
        "STORE NSS name hexaddress hexdata [...]",
        _store,
    ),
    Command(
        "QUERY",
        1,
        frozenset("EG"),
        "shows segments, their users, who is logged on, or who asks",
        "QUERY NSS [ALL | NAME name | file] [MAP | USERS | ATTRIBUTES]; QUERY NAMES; QUERY USERID",
        _query,
    ),
)

"""CP's commands, as an operator or a guest gives them: a table of words, shortest forms and privilege classes.

A refused command answers with a message whose number is the return code; DIAG X'08' gives both to a guest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dcss.cp.console import messages, query
from dcss.cp.console.definition import parse_definition, parse_name
from dcss.cp.console.messages import CommandError
from dcss.cp.console.store import store
from dcss.cp.segments.content import Fill, is_blank
from dcss.cp.segments.directory import Directory
from dcss.cp.segments.segment import OPERATOR, Guest, Segment
from dcss.cp.segments.storage import DamagedError
from dcss.cp.spool.saved import SavedSegments
from dcss.cp.steps import Steps, run_to_completion
from dcss.errors import PublishError, SpoolError


class Response(NamedTuple):
    """What a command answers: the return code, CP's lines, and the same as data, None where lines say it all."""

    return_code: int
    lines: tuple[str, ...]
    data: list[query.Row] | None = None


class Host(NamedTuple):
    """What commands act on."""

    system: str
    directory: Directory
    saved: SavedSegments


class Issuer(NamedTuple):
    """Who gives a command: a userid with privilege classes, and its virtual machine, None for the operator."""

    userid: str = OPERATOR
    privileges: frozenset[str] = frozenset("ABCDEFG")
    guest: Guest | None = None


THE_OPERATOR = Issuer()


@dataclass(frozen=True, slots=True)
class Command:
    """One word of CP: its name, how many letters suffice, the classes that may use it, and how it is used."""

    name: str
    shortest: int
    privileges: frozenset[str]
    usage: str
    run: Callable[[Host, Issuer, Sequence[str]], Response | Steps[Response]]


def execute(host: Host, line: str, issuer: Issuer = THE_OPERATOR) -> Response:
    """Execute one command line at once. Raises nothing for a command that is wrong: that is a response."""
    return run_to_completion(execute_steps(host, line, issuer))


def execute_steps(host: Host, line: str, issuer: Issuer = THE_OPERATOR) -> Steps[Response]:
    """Execute one command line. Raises nothing for a command that is wrong: that is a response."""
    words = line.upper().split()
    if not words or words[0].startswith("*"):  # a comment, for logs and scripts
        return Response(0, ())
    command = find_command(words[0])
    try:
        if command is None or not command.privileges & issuer.privileges:  # CP does not tell the two apart
            raise CommandError(messages.UNKNOWN_COMMAND, command=words[0])
        response = command.run(host, issuer, words[1:])
        return response if isinstance(response, Response) else (yield from response)
    except CommandError as error:
        return Response(error.return_code, (error.line,))
    except (SpoolError, PublishError, DamagedError) as error:
        return Response(messages.SPOOL_FAILED.number, (messages.SPOOL_FAILED.line(reason=error),))


def find_command(word: str) -> Command | None:
    """Return the command that a word in upper case, perhaps abbreviated, stands for."""
    return next((each for each in COMMANDS if _abbreviates(word, each.name, each.shortest)), None)


def _abbreviates(word: str, name: str, shortest: int) -> bool:
    return len(word) >= shortest and name.startswith(word)


def _defseg(host: Host, issuer: Issuer, words: Sequence[str]) -> Steps[Response]:
    definition = parse_definition(words)
    yield from host.saved.turn()
    skeleton = host.saved.define(definition, owner=issuer.userid)
    return Response(0, (messages.DEFINED.line(name=skeleton.name, spid=skeleton.spid),), query.rows([skeleton]))


def _saveseg(host: Host, issuer: Issuer, words: Sequence[str]) -> Steps[Response]:
    if not words:
        raise CommandError(messages.MISSING_OPERAND)
    if len(words) > 1:
        raise CommandError(messages.EXTRA_OPTIONS, option=words[1])
    name = parse_name(words[0])
    yield from host.saved.turn()
    skeleton = host.directory.skeletons.get(name)
    if skeleton is None:
        raise CommandError(messages.NO_SKELETON, name=name)
    storage = _storage_of(host, issuer, skeleton)
    saved = yield from host.saved.save_steps(name, storage, owner=issuer.userid, drop=True)
    return saved_response(saved)


def saved_response(saved: Segment) -> Response:
    """Return what CP answers to a segment having been saved."""
    return Response(0, (messages.SAVED.line(name=saved.name, spid=saved.spid),), query.rows([saved]))


def _storage_of(host: Host, issuer: Issuer, skeleton: Segment) -> Fill:
    """Return what writes the issuer's storage at the segment's addresses.

    The operator has none: from here a segment begins as zeros, and no content that there is gets lost to them.
    """
    if issuer.guest is None:
        older = host.directory.available.get(skeleton.name)
        if older is not None and not is_blank(older.definition, older.saved_digest or older.digest):
            raise CommandError(messages.NOTHING_TO_SAVE, name=skeleton.name, userid=issuer.userid, spid=older.spid)
        return lambda _: None
    dump = issuer.guest.dump
    if dump is None:
        raise CommandError(messages.NO_STORAGE, userid=issuer.userid)
    definition = skeleton.definition
    for pages in definition.ranges:
        if pages.type.saved and not issuer.guest.addresses(pages):
            raise CommandError(
                messages.NOT_ADDRESSABLE, name=skeleton.name, userid=issuer.userid, pages=str(pages).split(" ")[0]
            )
    return lambda write_fd: dump(write_fd, definition.start, definition.size_bytes)


def _purge(host: Host, issuer: Issuer, words: Sequence[str]) -> Response:  # noqa: ARG001
    operands = _after_nss(words)
    if not operands:
        raise CommandError(messages.MISSING_OPERAND)
    found, rest = _select(host, operands)
    if rest:
        raise CommandError(messages.EXTRA_OPTIONS, option=rest[0])
    gone = pending = 0
    for segment in found:
        in_use = bool(segment.users)
        host.saved.purge(segment)
        gone, pending = gone + (not in_use), pending + in_use
    lines = [f"{_files(gone)} PURGED"] if gone or not pending else []
    if pending:
        lines.append(f"{_files(pending)} PENDING PURGE")
    return Response(0, tuple(lines), query.rows(found))


def _files(number: int) -> str:
    return f"{number:04d} FILE " if number == 1 else f"{number:04d} FILES" if number else "NO FILES"


_FORMS: Mapping[str, tuple[int, Callable[[Sequence[Segment]], Iterator[str]]]] = {
    "MAP": (3, query.map_lines),
    "USERS": (4, query.user_lines),
    "ATTRIBUTES": (4, query.attribute_lines),
}


def _query(host: Host, issuer: Issuer, words: Sequence[str]) -> Response:
    if words and _abbreviates(words[0], "USERID", 6):
        if len(words) > 1:
            raise CommandError(messages.EXTRA_OPTIONS, option=words[1])
        return Response(0, (f"{issuer.userid:<8} AT {host.system.upper()}",))
    if "E" not in issuer.privileges:
        raise CommandError(messages.INVALID_QUERY, option=" ".join(words[:1]))
    found, rest = _select(host, _after_nss(words))
    lines: Callable[[Sequence[Segment]], Iterator[str]] = query.list_lines
    for word in rest:
        form = next((form for name, (shortest, form) in _FORMS.items() if _abbreviates(word, name, shortest)), None)
        if form is None:
            raise CommandError(messages.INVALID_QUERY, option=word)
        if lines is not query.list_lines:
            raise CommandError(messages.CONFLICTING_OPTION, option=word)
        lines = form
    return Response(0, tuple(lines(found)) if found else ("NO NSS FILES",), query.rows(found))


def _store(host: Host, issuer: Issuer, words: Sequence[str]) -> Response:  # noqa: ARG001
    return Response(0, ("STORE COMPLETE",), query.rows([store(host.directory, _after_nss(words))]))


def _after_nss(words: Sequence[str]) -> Sequence[str]:
    if not words:
        raise CommandError(messages.MISSING_OPERAND)
    if words[0] != "NSS":
        raise CommandError(messages.INVALID_QUERY, option=words[0])
    return words[1:]


def _select(host: Host, operands: Sequence[str]) -> tuple[list[Segment], Sequence[str]]:
    """Return the files that ALL, NAME name or a file number means, by file number, and the operands after it."""
    files = [host.directory.files[spid] for spid in sorted(host.directory.files)]
    first = operands[0] if operands else ""
    if first == "NAME":
        if len(operands) < 2:
            raise CommandError(messages.MISSING_OPERAND)
        name = parse_name(operands[1])
        return _existing([segment for segment in files if segment.name == name], name), operands[2:]
    if first.isascii() and first.isdigit():
        return _existing([segment for segment in files if segment.spid == int(first)], first), operands[1:]
    return files, operands[1:] if first == "ALL" else operands


def _existing(found: list[Segment], file: str) -> list[Segment]:
    if not found:
        raise CommandError(messages.NO_SUCH_FILE, file=file)
    return found


COMMANDS = (
    Command("DEFSEG", 6, frozenset("E"), "DEFSEG name page-page type [...] [LOADNSHR | RSTD] [SECURE]", _defseg),
    Command("SAVESEG", 7, frozenset("E"), "SAVESEG name", _saveseg),
    Command("PURGE", 3, frozenset("E"), "PURGE NSS {ALL | NAME name | file}", _purge),
    Command("STORE", 3, frozenset("C"), "STORE NSS name hexaddress hexdata [...]", _store),
    Command(
        "QUERY",
        1,
        frozenset("EG"),
        "QUERY NSS [ALL | NAME name | file] [MAP | USERS | ATTRIBUTES]; QUERY USERID",
        _query,
    ),
)

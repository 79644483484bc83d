"""What an operator can ask of CP: one type a request, each with the form in which the control socket carries it.

The console's commands, `dcss segment` and the control socket make these requests; dcss.cp.operations does them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.console.definition import definition_words, parse_definition, parse_name, parse_names
from dcss.cp.console.messages import CommandError
from dcss.cp.userids import OPERATOR
from dcss.errors import ConfigError
from dcss.host.text import is_encodable

if TYPE_CHECKING:  # commands make requests, and start without CP
    from dcss.cp.machine import RegisteredMachine
    from dcss.cp.segments.content import Fill

Arguments = dict[str, Any]
Row = dict[str, object]
_MAX_FILE_BYTES = 1 << 63


class Response(NamedTuple):
    """CP's answer: the return code, CP's lines, and the files that it is about as data, None if lines say it all."""

    return_code: int
    lines: tuple[str, ...]
    data: list[Row] | None = None

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"return_code": self.return_code, "lines": list(self.lines), "files": self.data}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Response":
        """Read the form that the control socket carries."""
        return cls(arguments["return_code"], tuple(arguments["lines"]), arguments["files"])

    @classmethod
    def refusal(cls, error: CommandError) -> "Response":
        """Return what CP answers if it refuses a request."""
        return cls(error.return_code, (error.line,))


class Issuer(NamedTuple):
    """Who makes a request: a userid with privilege classes, and its virtual machine, None for the operator."""

    userid: str = OPERATOR
    privileges: frozenset[str] = frozenset("ABCDEFG")
    machine: "RegisteredMachine | None" = None


THE_OPERATOR = Issuer()


class QueryForm(StrEnum):
    """What QUERY NSS shows of a file."""

    LIST = "LIST"
    MAP = "MAP"
    USERS = "USERS"
    ATTRIBUTES = "ATTRIBUTES"


class FileSelection(NamedTuple):
    """Which system data files: those of a name, or that of a file number; all, skeletons included, if neither."""

    name: SegmentName | None = None
    number: str | None = None  # its digits, as they were given


ALL_FILES = FileSelection()


@dataclass(frozen=True, slots=True)
class ConsoleCommand:
    """One line of a CP console."""

    line: str

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"command": self.line}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "ConsoleCommand":
        """Read the form that the control socket carries. Raises ConfigError."""
        return cls(_text(arguments, "command"))


@dataclass(frozen=True, slots=True)
class Define:
    """DEFSEG: enter a skeleton."""

    action: ClassVar = "define"
    definition: SegmentDefinition

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"action": self.action, "define": definition_words(self.definition)}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Define":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        return cls(_definition(arguments))


@dataclass(frozen=True, slots=True)
class Save:
    """SAVESEG: give a skeleton its content.

    That is a file's, what a function writes, or the issuer's storage.
    """

    action: ClassVar = "save"
    name: SegmentName
    content: "Path | Fill | None" = None

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries, which knows content in files only."""
        if self.content is None:
            return {"action": self.action, "name": str(self.name)}
        if not isinstance(self.content, Path):
            raise TypeError("a function does not cross the control socket; write the content to a file")
        return {"action": self.action, "name": str(self.name), "content": str(self.content)}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Save":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        content = None if arguments.get("content") is None else _path(arguments, "content")
        return cls(_name(arguments), content)


@dataclass(frozen=True, slots=True)
class Load:
    """Bring a segment into storage and check its digest."""

    action: ClassVar = "load"
    name: SegmentName

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"action": self.action, "name": str(self.name)}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Load":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        return cls(_name(arguments))


@dataclass(frozen=True, slots=True)
class Query:
    """QUERY NSS: show system data files."""

    action: ClassVar = "query"
    files: FileSelection = ALL_FILES
    form: QueryForm = QueryForm.LIST

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"action": self.action, "form": self.form.value, **_files_form(self.files)}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Query":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        form = arguments.get("form", QueryForm.LIST)
        if form not in list(QueryForm):
            raise ConfigError(f"request: form: found {form!r}, wanted one of {', '.join(QueryForm)}")
        return cls(_files(arguments), QueryForm(form))


@dataclass(frozen=True, slots=True)
class Purge:
    """PURGE NSS: take system data files away."""

    action: ClassVar = "purge"
    files: FileSelection

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"action": self.action, **_files_form(self.files)}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Purge":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        if not {"name", "file"} & arguments.keys():  # nothing is purged by leaving something out
            raise ConfigError("request: found neither name nor file, wanted one of them, null for all files")
        return cls(_files(arguments))


@dataclass(frozen=True, slots=True)
class Import:
    """Define and save a segment from a file, which must have `digest` if one is given.

    With `first_byte` its content begins there in the file, which has those of other segments too.
    """

    action: ClassVar = "import"
    image: Path
    definition: SegmentDefinition
    digest: str | None = None
    first_byte: int | None = None
    advance: Callable[[int], None] = field(default=lambda _: None, compare=False)  # called with the bytes of each part

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        words = definition_words(self.definition)
        return {
            "action": self.action,
            "image": str(self.image),
            "define": words,
            "digest": self.digest,
            "first_byte": self.first_byte,
        }

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Import":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        digest = None if arguments.get("digest") is None else _text(arguments, "digest")
        definition = _definition(arguments)
        return cls(_path(arguments, "image"), definition, digest, _first_byte(arguments))


@dataclass(frozen=True, slots=True)
class Export:
    """Write a segment's saved content, and its manifest, to files; or those of several that adjoin, as one device."""

    action: ClassVar = "export"
    names: tuple[SegmentName, ...]
    image: Path

    def arguments(self) -> Arguments:
        """Return the form that the control socket carries."""
        return {"action": self.action, "name": ":".join(self.names), "image": str(self.image)}

    @classmethod
    def from_arguments(cls, arguments: Arguments) -> "Export":
        """Read the form that the control socket carries. Raises ConfigError, CommandError."""
        return cls(parse_names(_text(arguments, "name").upper()), _path(arguments, "image"))


@dataclass(frozen=True, slots=True)
class Store:
    """STORE NSS: CP writes into pages of type SC, at the absolute address of a byte."""

    name: SegmentName
    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class QueryUserid:
    """QUERY USERID: show who makes the request, and on which system."""


@dataclass(frozen=True, slots=True)
class QueryNames:
    """QUERY NAMES: show who is logged on: the operator, and the guests that run."""


SegmentRequest = Define | Save | Load | Query | Purge | Import | Export
OperatorRequest = SegmentRequest | Store | QueryNames | QueryUserid | ConsoleCommand

SEGMENT_REQUESTS: Mapping[str, type[SegmentRequest]] = {
    kind.action: kind for kind in (Define, Save, Load, Query, Purge, Import, Export)
}


def segment_request(arguments: Arguments) -> SegmentRequest:
    """Read what the control socket carries as `segment`. Raises ConfigError, CommandError."""
    kind = SEGMENT_REQUESTS.get(str(arguments.get("action")))
    if kind is None:
        raise ConfigError(
            f"segment: action: found {arguments.get('action')!r}, wanted one of {', '.join(SEGMENT_REQUESTS)}"
        )
    return kind.from_arguments(arguments)


def _files_form(files: FileSelection) -> Arguments:
    if files.number is not None:
        return {"file": files.number}
    return {"name": None if files.name is None else str(files.name)}


def _files(arguments: Arguments) -> FileSelection:
    if arguments.get("file") is not None:
        number = _text(arguments, "file")
        if not (number.isascii() and number.isdigit()):
            raise ConfigError(f"request: file: found {number!r}, wanted digits")
        return FileSelection(number=number)
    return ALL_FILES if arguments.get("name") is None else FileSelection(_name(arguments))


def _name(arguments: Arguments) -> SegmentName:
    return parse_name(_text(arguments, "name").upper())


def _definition(arguments: Arguments) -> SegmentDefinition:
    return parse_definition(_text(arguments, "define").upper().split())


def _text(arguments: Arguments, key: str) -> str:
    found = arguments.get(key)
    if not isinstance(found, str):
        raise ConfigError(f"request: {key}: found {found!r}, wanted text")
    return found


def _first_byte(arguments: Arguments) -> int | None:
    found = arguments.get("first_byte")
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < _MAX_FILE_BYTES:
        raise ConfigError(f"request: first_byte: found {found!r}, wanted the number of a byte in the file, or null")
    return found


def _path(arguments: Arguments, key: str) -> Path:
    return absolute_path(_text(arguments, key), f"request: {key}")


def absolute_path(text: str, where: str) -> Path:
    """Return the path that a client names. Raises ConfigError that names `where` where it can be none."""
    if not text.startswith("/") or not is_encodable(text):
        raise ConfigError(f"{where}: found {text!r}, wanted an absolute path")
    return Path(text)

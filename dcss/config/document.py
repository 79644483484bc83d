"""Read a YAML file as plain data, with the line of every value: YAML 1.1, one document, no custom tags.

`${VAR}` is replaced by environment variables, and keys that begin with `x-` are left out, both as in compose files.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from dcss.config.interpolate import interpolate
from dcss.config.plan import DEFAULT_ENGINE
from dcss.config.problems import FieldProblem, Location, Place, WrongValueError, describe, nearest_line
from dcss.errors import ConfigError
from dcss.host.paths import is_system_name
from dcss.host.text import is_encodable

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 100_000  # after aliases are expanded: far above any real file, far below what a bomb expands to
FREE_KEY_PREFIX = "x-"  # such keys hold whatever their author wants, anchors above all
_MERGE_TAG = "tag:yaml.org,2002:merge"
_EXPECTED = re.compile(r"(?:expected (?P<wanted>.+?)(?:, |$))?(?:but )?(?:found |got )?(?P<found>.*)")
_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file's `data`; `lines` and `sources` (the text of scalars) are keyed by location.

    `unset` has the variables that are not set, with the location of each reference.
    """

    file: str
    data: object
    lines: dict[Location, int]
    sources: dict[Location, str]
    problems: list[FieldProblem] = field(default_factory=list)
    unset: list[tuple[Location, str]] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """Return the line of a location, or of the nearest enclosing one that the file has."""
        return nearest_line(self.lines, location)

    def place(self, *location: str | int) -> Place:
        """Return the part of the file at `location`, by which later errors name fields."""
        return Place(self.file, location, self.lines)

    def describe(self, location: Location, value: object) -> str:
        """Return how a message names the value at `location`."""
        return describe(value, self.sources.get(location))


def presumed_engines(document: Document, path: Path) -> tuple[str, frozenset[str]]:
    """Return the system's name, and the engines of its guests, if all in a document that nobody checked is right.

    There are no engines where the name is not one.
    """
    data = document.data if isinstance(document.data, Mapping) else {}
    guests, name = data.get("guests"), data.get("system", path.stem)
    if not isinstance(guests, list) or not isinstance(name, str) or not is_system_name(name):
        return "", frozenset()
    return name, frozenset(str(guest.get("engine", DEFAULT_ENGINE)) for guest in guests if isinstance(guest, Mapping))


def read_document(path: Path, environment: Mapping[str, str] | None = None) -> Document:
    """Read one YAML file, with the variables of `environment` (None: of this process).

    Raises ConfigError where it cannot be read or is not YAML.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        example = " (dcss init writes an example)" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"{file}: found {error.strerror}, wanted a readable YAML file{example}") from error
    return parse_document(content, file, environment)


def parse_document(content: bytes, file: str, environment: Mapping[str, str] | None = None) -> Document:
    """Read YAML that messages name as `file`, as `read_document` does."""
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: found more than {MAX_FILE_BYTES} bytes, wanted a YAML file of at most 1 MiB")
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        if node is not None:
            _refuse_bomb(node)
        return _Walk(file, loader, os.environ if environment is None else environment).document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_marked(file, error)) from error
    except yaml.reader.ReaderError as error:
        line = content.count(b"\n", 0, error.position) + 1
        raise ConfigError(f"{file}:{line}: document: found {error.reason}, wanted text in UTF-8") from error
    except RecursionError as error:
        raise ConfigError(f"{file}:1: document: found too many levels of nesting, wanted a few") from error


def _marked(file: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    # PyYAML's text is "expected X, but found Y", or puts the two halves into `context` and `problem`.
    problem = _EXPECTED.fullmatch(" ".join((error.problem or "something else").split()))
    expected = _EXPECTED.fullmatch(error.context or "")
    wanted = (problem and problem["wanted"]) or (expected and expected["wanted"]) or "YAML"
    found = problem["found"] if problem and problem["found"] else "something else"
    hint = " (indent with blanks, not with tabs)" if "'\\t'" in found else ""
    return f"{file}:{line}: document: found {found}, wanted {wanted}{hint}"


def _refuse_bomb(root: yaml.Node) -> None:
    """Count nodes with aliases expanded, without expanding them; an alias to a node around itself is refused too."""
    sizes: dict[int, int] = {}
    begun: set[int] = set()

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in begun:
            raise yaml.MarkedYAMLError(problem="an alias to a node around itself", problem_mark=node.start_mark)
        begun.add(id(node))
        total = 1
        if isinstance(node, yaml.CollectionNode):
            for child in node.value:
                total += sum(map(size, child)) if isinstance(child, tuple) else size(child)
        if total > MAX_NODES:
            problem = f"aliases that expand to more than {MAX_NODES} values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        sizes[id(node)] = total
        return total

    size(root)


class _Walk:
    """Turns nodes into plain data and records lines, duplicate keys and variables."""

    def __init__(self, file: str, loader: yaml.SafeLoader, environment: Mapping[str, str]) -> None:
        self._file = file
        self._loader = loader
        self._environment = environment
        self._lines: dict[Location, int] = {}
        self._sources: dict[Location, str] = {}
        self._problems: list[FieldProblem] = []
        self._unset: list[tuple[Location, str]] = []

    def document(self, node: yaml.Node | None) -> Document:
        data = None if node is None else self._value(node, ())
        return Document(self._file, data, self._lines, self._sources, self._problems, self._unset)

    def _value(self, node: yaml.Node, at: Location) -> object:
        self._lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag in _PLAIN_TAGS:
            return [self._value(child, (*at, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag in _PLAIN_TAGS:
            return self._mapping(node, at)
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag}", problem_mark=node.start_mark)

    def _scalar(self, node: yaml.ScalarNode, at: Location) -> object:
        if "$" in node.value:
            node = self._interpolated(node, at)
        self._sources[at] = node.value
        if not node.value.isascii() and not is_encodable(node.value):
            wanted = "text without NUL and without halves of characters"
            self._problems.append(FieldProblem(at, describe(node.value), wanted))
        try:
            return self._loader.construct_object(node)
        except ValueError as error:  # such as a date that is none, or a number of thousands of digits
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

    def _interpolated(self, node: yaml.ScalarNode, at: Location) -> yaml.ScalarNode:
        """Return the scalar with its variables replaced: an unquoted one may become a number or a boolean by it."""
        try:
            text, unset = interpolate(node.value, self._environment)
        except WrongValueError as error:
            self._problems.append(FieldProblem(at, describe(node.value), error.wanted, error.mends))
            return node
        self._unset += [(at, name) for name in unset]
        tag: str = node.tag
        if node.style is None:
            tag = self._loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return yaml.ScalarNode(tag, text, node.start_mark, node.end_mark, node.style)

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, object]:
        own = [(key, value) for key, value in node.value if key.tag != _MERGE_TAG]
        data = self._merged([(key, value) for key, value in node.value if key.tag == _MERGE_TAG], at)
        first_lines: dict[str, int] = {}
        for key_node, value_node in own:
            key = self._key(key_node)
            if key.startswith(FREE_KEY_PREFIX):
                continue
            line = key_node.start_mark.line + 1
            if key in first_lines:
                wanted = f"it once (the first is in line {first_lines[key]})"
                self._problems.append(FieldProblem((*at, key), "this key again", wanted, line=line))
                continue
            first_lines[key] = self._lines[(*at, key)] = line
            data[key] = self._value(value_node, (*at, key))
        return data

    def _merged(self, merges: list[tuple[yaml.Node, yaml.Node]], at: Location) -> dict[str, object]:
        """Return the keys of ``<<: *anchor`` or ``<<: [*a, *b]``, of which the first wins."""
        data: dict[str, object] = {}
        for key, value in reversed(merges):
            for other in reversed(value.value if isinstance(value, yaml.SequenceNode) else [value]):
                if not isinstance(other, yaml.MappingNode):
                    raise yaml.MarkedYAMLError(problem="<< with something else", problem_mark=key.start_mark)
                data |= self._mapping(other, at)
        return data

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            key = self._loader.construct_object(node)
            if isinstance(key, str):
                return key
        raise yaml.MarkedYAMLError(problem="a key that is not text", problem_mark=node.start_mark)

"""The examples of the documentation: blocks of the pages, and how what they show is compared with what comes."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:    .*\n(?:\n(?=    ))?)+")
_SHAPE = re.compile(r"(\w+:? +)?\{\"")
_NUMBER = re.compile(r"[0-9][0-9A-F,.:]*")
_UNIT = re.compile(r"\b([KMG]i)?B\b|\bbytes?\b")


@dataclass(frozen=True)
class Block:
    """A fenced or an indented block: `key` is its page and first line, by which tests name it."""

    page: str
    language: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0].strip()}"

    @property
    def is_shape(self) -> bool:
        """Whether it is the shape of a JSON document, of which a schema is compared with real output."""
        return not self.language and _SHAPE.match(self.text) is not None

    def steps(self) -> list[tuple[str, list[str]]]:
        """Return its commands, each with the lines that it shows behind it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
        return found


BLOCKS = [
    Block(str(page.relative_to(ROOT)), match[1], match[2])
    for page in PAGES
    for match in _FENCED.finditer(page.read_text("utf-8"))
]


INDENTED = [
    Block(str(page.relative_to(ROOT)), "", match[0])
    for page in PAGES
    for match in _INDENTED.finditer(_FENCED.sub("", page.read_text("utf-8")))
]


def commands_of(text: str) -> list[list[str]]:
    """Return the words of each command `dcss` in lines of a shell, without what a pipe or a file makes of them."""
    found = []
    for line in text.splitlines():
        shown = re.sub(r'"\$\((.*)\)"', r"\1", re.split(r"(?<=\S) {3,}", line.strip())[0])
        lexer = shlex.shlex(shown, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words = list(lexer)
        while "dcss" in words:
            words = words[words.index("dcss") + 1 :]
            end = next((at for at, word in enumerate(words) if set(word) <= set("|&;<>()")), len(words))
            found.append([word for word in words[:end] if word != "..."])
            words = words[end:]
    return found


def block(key: str) -> Block:
    """Return the block of this key."""
    (found,) = [each for each in BLOCKS if each.key == key]
    return found


def assert_shown(shown: Sequence[str], printed: Sequence[str], *, only: str = "") -> None:
    """Fail where what a page shows is not what came: figures may differ, and … stands for any lines.

    Of what is shown, lines that match `only` must be there, in this order; without it, all lines, and no others.
    """
    wanted, found = [_normal(line) for line in shown], [_normal(line) for line in printed]
    loose = bool(only)
    if loose:
        wanted = [_normal(line) for line in shown if re.search(only, line)]
        assert wanted, shown
    at, skip = 0, loose
    for line in wanted:
        if line == "…":
            skip = True
            continue
        while skip and at < len(found) and found[at] != line:
            at += 1
        assert at < len(found), f"nothing like {line!r} in\n" + "\n".join(found)
        assert found[at] == line
        at, skip = at + 1, loose
    assert loose or skip or at == len(found), found[at:]


def _normal(line: str) -> str:
    """Return a line without its figures and their units, and without what makes columns."""
    line = _UNIT.sub("U", _NUMBER.sub("#", line))
    return " ".join(re.sub("─+", "─", line).split())

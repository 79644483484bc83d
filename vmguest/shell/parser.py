"""From a line to commands: words with quotes, `>` and `>>`, `;`, `&&` and `||`. What a shell has beyond is refused."""

from collections.abc import Sequence
from typing import NamedTuple

_BLANKS = b" \t"
_ENDS = b" \t\n;&|<>"
_ESCAPED_IN_QUOTES = b'$`"\\\n'
_REFUSED = {
    b"|": "pipes",
    b"&": "commands in the background",
    b"<": "redirection of input",
    b"$": "variables and substitution",
    b"`": "substitution",
    b"(": "subshells",
    b")": "subshells",
}


class ShellSyntaxError(Exception):
    """A line that this shell does not understand; the text says why."""


class Fragment(NamedTuple):
    """A part of a word; wildcards in a quoted one mean themselves."""

    text: bytes
    quoted: bool


Word = tuple[Fragment, ...]


class Redirection(NamedTuple):
    """Where standard output goes."""

    target: Word
    append: bool


class SimpleCommand(NamedTuple):
    """One simple command. `when` says of the status before it: None always, 0 for &&, 1 for ||."""

    words: tuple[Word, ...]
    redirections: tuple[Redirection, ...]
    when: int | None


class _Operator(NamedTuple):
    text: bytes


_Token = _Operator | Word
_WHEN: dict[bytes, int | None] = {b";": None, b"\n": None, b"&&": 0, b"||": 1}


def parse_line(line: bytes) -> list[SimpleCommand]:
    """Return the commands of one or more lines. Raises ShellSyntaxError."""
    return _commands(_tokens(line))


def parse_words(words: Sequence[bytes]) -> list[SimpleCommand]:
    """Return the command that words make: each stands for itself, but for `>` and `>>` with the word behind them."""
    tokens: list[_Token] = [
        _Operator(word) if word in {b">", b">>"} else (Fragment(word, quoted=True),) for word in words
    ]
    return _commands(tokens)


def _commands(tokens: list[_Token]) -> list[SimpleCommand]:
    commands: list[SimpleCommand] = []
    words: list[Word] = []
    redirections: list[Redirection] = []
    when: int | None = None
    wanted = False  # a command must follow
    ahead = iter([*tokens, _Operator(b"\n")])
    for token in ahead:
        if not isinstance(token, _Operator):
            words.append(token)
        elif token.text in {b">", b">>"}:
            target = next(ahead)
            if isinstance(target, _Operator):
                raise ShellSyntaxError(f"syntax error: no file name behind `{token.text.decode()}'")
            redirections.append(Redirection(target, token.text == b">>"))
        else:
            if words or redirections:
                commands.append(SimpleCommand(tuple(words), tuple(redirections), when))
                wanted = False
            elif token.text != b"\n" or wanted:
                shown = "newline" if token.text == b"\n" else token.text.decode()
                raise ShellSyntaxError(f"syntax error near unexpected token `{shown}'")
            words, redirections, when = [], [], _WHEN[token.text]
            wanted = when is not None
    return commands


def _tokens(line: bytes) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(line):
        here = line[at : at + 1]
        if here in _BLANKS:
            at += 1
        elif here == b"#":
            end = line.find(b"\n", at)
            at = len(line) if end < 0 else end
        elif line[at : at + 2] in {b">>", b"&&", b"||"}:
            tokens.append(_Operator(line[at : at + 2]))
            at += 2
        elif here in b">;\n":
            tokens.append(_Operator(here))
            at += 1
        else:
            word, at = _word(line, at)
            if word:
                tokens.append(word)
    return tokens


def _word(line: bytes, at: int) -> tuple[Word, int]:
    """Return the word that begins at `at`, and where it ends."""
    fragments: list[Fragment] = []
    start = at
    while at < len(line) and line[at] not in _ENDS:
        here = line[at : at + 1]
        if here == b"'":
            end = line.find(b"'", at + 1)
            if end < 0:
                raise ShellSyntaxError("syntax error: a quote ' is not closed")
            fragments.append(Fragment(line[at + 1 : end], quoted=True))
            at = end + 1
        elif here == b'"':
            text, at = _double_quoted(line, at + 1)
            fragments.append(Fragment(text, quoted=True))
        elif here == b"\\":
            if line[at + 1 : at + 2] != b"\n":
                fragments.append(Fragment(line[at + 1 : at + 2], quoted=True))
            at += 2
        else:
            _refuse(here)
            end = at
            while end < len(line) and line[end] not in _ENDS + b"'\"\\$`()":
                end += 1
            fragments.append(Fragment(line[at:end], quoted=False))
            at = end
    if at == start:
        _refuse(line[at : at + 1])
    return tuple(fragments), at


def _double_quoted(line: bytes, at: int) -> tuple[bytes, int]:
    text = bytearray()
    while at < len(line):
        here = line[at : at + 1]
        if here == b'"':
            return bytes(text), at + 1
        if here == b"\\" and line[at + 1 : at + 2] in _ESCAPED_IN_QUOTES:
            if line[at + 1 : at + 2] != b"\n":
                text += line[at + 1 : at + 2]
            at += 2
            continue
        if here in b"$`":
            _refuse(here)
        text += here
        at += 1
    raise ShellSyntaxError('syntax error: a quote " is not closed')


def _refuse(character: bytes) -> None:
    if character in _REFUSED:
        name = character.decode()
        raise ShellSyntaxError(
            f"syntax error at `{name}': {_REFUSED[character]} are not supported; quote it to mean it"
        )

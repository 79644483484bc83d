"""Lines and words become commands; what this shell has not is refused by name."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmguest.shell.parser import ShellSyntaxError, SimpleCommand, parse_line, parse_words


def literal(command: SimpleCommand) -> list[bytes]:
    return [b"".join(fragment.text for fragment in word) for word in command.words]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"", []),
        (b"  \n# only a comment", []),
        (b"cat a b", [[b"cat", b"a", b"b"]]),
        (b"cat 'a b' \"c d\" e\\ f", [[b"cat", b"a b", b"c d", b"e f"]]),
        (b"echo a'b'\"c\"d", [[b"echo", b"abcd"]]),
        (b"echo '' \"\"", [[b"echo", b"", b""]]),
        (b'echo "a\\"b\\\\c\\d"', [[b"echo", b'a"b\\c\\d']]),
        (b"echo '\\' '#' a#b # c", [[b"echo", b"\\", b"#", b"a#b"]]),
        (b"a\nb ; c;", [[b"a"], [b"b"], [b"c"]]),
        (b"echo a\\\nb", [[b"echo", b"ab"]]),
        (b"echo \\\n", [[b"echo"]]),
        (b"echo '>' \\> \"a;b\" '$x' \\$y \"\\$z\"", [[b"echo", b">", b">", b"a;b", b"$x", b"$y", b"$z"]]),
        (b"echo \xff\xc3", [[b"echo", b"\xff\xc3"]]),
    ],
)
def test_words_and_quotes(line: bytes, wanted: list[list[bytes]]) -> None:
    assert [literal(command) for command in parse_line(line)] == wanted


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=0), min_size=1))
def test_what_shlex_quotes_comes_back(words: list[str]) -> None:
    (command,) = parse_line(shlex.join(["x", *words]).encode(errors="surrogatepass"))
    assert literal(command)[1:] == [word.encode(errors="surrogatepass") for word in words]


def test_operators_between_commands() -> None:
    commands = parse_line(b"a&&b||c;d\ne")
    assert [(literal(c)[0], c.when) for c in commands] == [
        (b"a", None),
        (b"b", 0),
        (b"c", 1),
        (b"d", None),
        (b"e", None),
    ]


def test_redirections_stand_anywhere_and_each_is_kept() -> None:
    (command,) = parse_line(b"> a echo x>>'b c' y")
    assert literal(command) == [b"echo", b"x", b"y"]
    assert [(r.target[0].text, r.append) for r in command.redirections] == [(b"a", False), (b"b c", True)]


def test_words_are_themselves_but_for_redirection() -> None:
    (command,) = parse_words([b"echo", b"*", b"a;b", b"$x", b"&&", b">>", b"f g"])
    assert literal(command) == [b"echo", b"*", b"a;b", b"$x", b"&&"]
    assert all(fragment.quoted for word in command.words for fragment in word)
    assert [(r.target[0].text, r.append) for r in command.redirections] == [(b"f g", True)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"a | b", "pipes"),
        (b"a &", "background"),
        (b"a < b", "redirection of input"),
        (b"echo $HOME", "variables"),
        (b'echo "$HOME"', "variables"),
        (b"echo `a`", "substitution"),
        (b"(a)", "subshells"),
        (b"echo 'a", "quote ' is not closed"),
        (b'echo "a', 'quote " is not closed'),
        (b"a >", "no file name behind `>'"),
        (b"a >> ; b", "no file name behind `>>'"),
        (b"; a", "unexpected token `;'"),
        (b"a ;; b", "unexpected token `;'"),
        (b"&& a", "unexpected token `&&'"),
        (b"a &&", "unexpected token `newline'"),
        (b"a || ; b", "unexpected token `;'"),
    ],
)
def test_what_is_refused(line: bytes, why: str) -> None:
    with pytest.raises(ShellSyntaxError) as caught:
        parse_line(line)
    assert why in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_end_in_commands_or_a_syntax_error(line: bytes) -> None:
    try:
        parse_line(line)
    except ShellSyntaxError as error:
        assert "syntax error" in str(error)

"""The CP console: a prompt with history and completion, each line a command to CP."""

import contextlib
import re
import signal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from dcss.cli.operator import exit_status, operator_of
from dcss.cli.options import echo_error
from dcss.errors import DcssError

if TYPE_CHECKING:
    from dcss.cp.console.commands import Command
    from dcss.cp.requests import Response

PROMPT = "CP> "
_HISTORY_LINES = 1000
_ENDS = {"QUIT": 4, "LOGOFF": 3, "LOGOUT": 3}  # and the letters that suffice
_HELP = {"HELP": 4, "?": 1}
_WORD = re.compile(r"[A-Z]{3,}")


def converse(system: str) -> None:
    """Converse until QUIT, LOGOFF or the end of the input. Ctrl-C drops the line that is being typed."""
    click.echo(f"CP of system {system}; HELP lists its commands, QUIT ends this")
    with _line_editing():
        while True:
            try:
                with _interruptible():
                    line = input(PROMPT)
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                continue
            if _is_one_of(line, _ENDS):
                return
            _execute(system, line)


def execute_lines(system: str, lines: Iterable[str]) -> int:
    """Execute the lines of a file up to QUIT or LOGOFF, and return the highest exit status. Raises DcssError."""
    status = 0
    for line in lines:
        if _is_one_of(line, _ENDS):
            break
        response = execute(system, line)
        for each in response.lines:
            click.echo(each)
        status = max(status, exit_status(response))
    return status


def execute(system: str, line: str) -> "Response":
    """Execute one line: HELP here, all else at the CP of `system`. Raises DcssError."""
    from dcss.cp.console.commands import command_words
    from dcss.cp.requests import ConsoleCommand, Response

    if _is_one_of(line, _HELP):
        return _help(command_words(line)[1:])
    if not line.strip():
        return Response(0, ())
    with operator_of(system) as operator:
        return operator.perform(ConsoleCommand(line))


def _help(words: list[str]) -> "Response":
    """Return what HELP answers: every command, or the one that is named, which may be abbreviated."""
    from dcss.cp.console.commands import find_command
    from dcss.cp.console.messages import EXTRA_OPTIONS, UNKNOWN_COMMAND, CommandError
    from dcss.cp.requests import Response

    if not words:
        return Response(0, tuple(help_lines()))
    if len(words) > 1:
        return Response.refusal(CommandError(EXTRA_OPTIONS, option=words[1]))
    command = find_command(words[0])
    if command is None:
        return Response.refusal(CommandError(UNKNOWN_COMMAND, command=words[0]))
    return Response(0, (*_usage(command), f"    {command.purpose}; docs/cp.md has the rest"))


def _usage(command: "Command") -> Iterator[str]:
    yield from command.usage.split("; ")
    if command.shortest < len(command.name):
        yield f"    {command.name} may be as short as {command.name[: command.shortest]}"


def help_lines() -> Iterator[str]:
    """Yield what HELP shows: how each command is used, and how short its name may be."""
    from dcss.cp.console.commands import COMMANDS

    for command in COMMANDS:
        yield from _usage(command)
    yield "HELP [command], QUIT, LOGOFF are this console's own"


def _execute(system: str, line: str) -> None:
    # A new operator for each line: a system may have come up or gone down since the last, and no lock is held between.
    try:
        response = execute(system, line)
    except DcssError as error:
        echo_error(f"dcss: {error}")
        return
    for each in response.lines:
        click.echo(each)


def _is_one_of(line: str, known: dict[str, int]) -> bool:
    from dcss.cp.console.commands import command_words

    word = command_words(line)[:1]
    return any(len(typed) >= shortest and name.startswith(typed) for typed in word for name, shortest in known.items())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have each Ctrl-C interrupt; elsewhere a second one waits until what the first began is cleaned up."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Have input() edit lines, complete words with Tab, and remember lines from one console to the next."""
    from dcss.host.paths import state_directory

    try:
        import readline
    except ImportError:  # a Python without it: lines come as the terminal edits them
        yield
        return
    words = sorted(_ENDS.keys() | set(_WORD.findall(" ".join(help_lines()))))

    def complete(text: str, state: int) -> str | None:
        found = [word for word in words if word.startswith(text.upper())]
        return f"{found[state]} " if state < len(found) else None

    history = state_directory() / ".cp_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(_HISTORY_LINES)
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(history)

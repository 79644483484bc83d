"""`dcss cp`: CP's commands, one at a time or at a console."""

import sys
from collections.abc import Iterator

import click

from dcss.cli.console import converse, execute, execute_lines
from dcss.cli.operator import exit_status, response_document, system_option
from dcss.cli.options import json_option, print_json
from dcss.errors import DcssError


@click.command("cp")
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@system_option
@json_option
def command(words: tuple[str, ...], system: str, as_json: bool) -> int:
    """Send a command to CP, or open a CP console.

    \b
    dcss cp "DEFSEG LIB 20000-200FF SR"
    dcss cp q nss map
    dcss cp --system demo

    Commands may be abbreviated as on z/VM. In the console, HELP lists the commands; QUIT, LOGOFF or Ctrl-D ends it.
    From a pipe, the lines are executed one after the other.

    Exit status: 1 CP refused a command; 3 its spool failed. The message is on stdout.
    """
    line = " ".join(words)
    if not line and as_json:
        raise click.UsageError("--json needs a COMMAND: one document for one command.")
    if not line:
        if sys.stdin.isatty():
            converse(system)
            return 0
        return execute_lines(system, _lines())
    response = execute(system, line)
    if as_json:
        print_json({"system": system, "command": line, **response_document(response), "files": response.data})
    else:
        for each in response.lines:
            click.echo(each)
    return exit_status(response)


def _lines() -> Iterator[str]:
    try:
        yield from sys.stdin
    except OSError as error:
        raise DcssError(f"stdin: {error.strerror}") from error

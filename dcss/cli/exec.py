"""`dcss exec GUEST -- COMMAND`: run a command in a guest."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from dcss.cli.options import json_option, print_json
from dcss.cli.systems import chosen, guest_argument, system_option
from dcss.errors import ConfigError

if TYPE_CHECKING:
    from dcss.cli.program_input import TerminalInput
    from dcss.rpc.client import Speaker
    from dcss.rpc.protocol import Output


@click.command("exec")
@guest_argument
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on to the program.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give the program a terminal, which is this one.")
@click.option(
    "-e",
    "--env",
    "environment",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a variable for the program; may be given several times.",
)
@click.option("-w", "--workdir", "directory", metavar="DIR", help="Start the program in this directory of the guest.")
@click.option("--strace", is_flag=True, help="Write a line to stderr for each system call.")
@click.option("--gdb", is_flag=True, help="Have the program wait for gdb, and say how to connect it.")
@system_option
@json_option
def command(  # noqa: PLR0917
    guest: str,
    words: tuple[str, ...],
    interactive: bool,
    terminal: bool,
    environment: tuple[str, ...],
    directory: str | None,
    strace: bool,
    gdb: bool,
    system: str | None,
    as_json: bool,
) -> int:
    """Run a command in a guest that is ready, and end with its exit status.

    \b
    dcss exec LINUX01 -- ls -l /usr/lib
    dcss exec LINUX01 --system demo -- cat /proc/meminfo
    dcss exec LINUX01 -- sh -c 'free > /tmp/free; cat /tmp/free'
    dcss exec LINUX01 -- help

    Guests of engines s390x and linux run programs, which can be interactive:

    \b
    dcss exec -it Z01 -- bash
    tar c . | dcss exec -i Z01 -w /tmp -- tar x
    dcss exec Z01 --strace --env LANG=C.UTF-8 -- ls /
    dcss exec Z01 --gdb -- ./program

    The output of the command goes to stdout and stderr unchanged, as it arrives.
    """
    from dcss.rpc.client import Client

    if not words:
        raise ConfigError("dcss exec: found no command, wanted one after --")
    for entry in environment:
        if entry.find("=") < 1:
            raise ConfigError(f"dcss exec --env: found {entry!r}, wanted NAME=VALUE")
    if gdb and terminal:
        raise ConfigError("dcss exec: found -t beside --gdb, wanted one of them: gdb has a terminal of its own")
    if as_json and terminal:
        raise ConfigError("dcss exec: found -t beside --json, wanted one of them: a terminal shows what comes")
    options: dict[str, Any] = {"environment": list(environment), "directory": directory}
    options |= {"input": interactive, "strace": strace, "gdb": gdb}
    captured: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def capture(output: "Output") -> None:
        captured[output.stream] += output.data

    show: Callable[[Output], None] = capture if as_json else _show
    with Client(chosen(system)) as client, _speaker(options, interactive, terminal) as program, ExitStack() as stack:
        speaker: Speaker | None = program
        if gdb:
            from dcss.cli.gdb import GdbSpeaker

            debugger = stack.enter_context(GdbSpeaker(program))
            debugger.announce()
            speaker, show = debugger, debugger.wrap(show)
        result = client.ask(
            "exec",
            on_output=show,
            speaker=speaker,
            guest=guest,
            command=list(words),
            **{name: value for name, value in options.items() if value},
        )
    status = int(result["exit_status"])
    if as_json:
        texts = {name: bytes(data).decode(errors="surrogateescape") for name, data in captured.items()}
        print_json({"guest": guest, "exit_status": status, **texts})
    return status


def _show(output: "Output") -> None:
    stream = sys.stdout if output.stream == "stdout" else sys.stderr
    stream.buffer.write(output.data)
    stream.buffer.flush()


@contextmanager
def _speaker(options: dict[str, Any], interactive: bool, terminal: bool) -> "Iterator[TerminalInput | None]":
    """Give what speaks to the program, None where nothing does; add to the options what goes with a terminal."""
    if not interactive and not terminal:
        yield None
        return
    from dcss.cli.program_input import TerminalInput, raw_terminal, terminal_size

    speaker = TerminalInput(reads=interactive)
    with ExitStack() as stack:
        if terminal:
            if interactive:  # else Ctrl-C ends this command, since no key reaches the program
                stack.enter_context(raw_terminal())
            stack.enter_context(speaker.watching_window())
            options["terminal"] = list(terminal_size())
            options["input"] = True  # for the window's sizes
            kind = os.environ.get("TERM")
            if kind and not any(entry.startswith("TERM=") for entry in options["environment"]):
                options["environment"].append(f"TERM={kind}")
        yield speaker

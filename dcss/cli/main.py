"""Run the command line: find the command, and turn its exceptions into lines on stderr and an exit status.

Exit status: 0 done and true; 1 a verdict is refuted or unproved; 2 usage or configuration; 3 a part failed at run time;
128 + N ended by signal N, SIGPIPE (141) where nobody reads the output any more.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import click

from dcss.cli.completion import COMPLETE_VARIABLE
from dcss.cli.groups import CommandGroup
from dcss.cli.options import EXIT_FAILED, EXIT_USAGE, echo_error, is_json_printed, print_json
from dcss.cli.streams import OutputError, ReaderGoneError, discard_output, prepare_streams
from dcss.errors import ConfigError, DcssError, ImageError
from dcss.host.garbage import collect_seldom, end_without_collecting
from dcss.host.interrupts import SignalledError, signals_interrupt
from dcss.version import VERSION

_EXIT_SIGNAL = 128


class CommandEntry(NamedTuple):
    """A command: it is the attribute `command` of `module`; `help` is its line in the list of commands."""

    module: str
    help: str


COMMANDS: dict[str, CommandEntry] = {
    "run": CommandEntry("dcss.cli.run", "Start a system, run its workloads, verify, measure, and take it down."),
    "up": CommandEntry("dcss.cli.up", "Start a system, run its workloads, and leave it running."),
    "ps": CommandEntry("dcss.cli.ps", "Show the running systems and their guests."),
    "verify": CommandEntry("dcss.cli.verify", "Prove that the guests of a running system share its segments."),
    "measure": CommandEntry(
        "dcss.cli.measure", "Show what each guest of a running system costs, and what sharing saves."
    ),
    "inspect": CommandEntry(
        "dcss.cli.inspect", "Prove what anybody's processes share, and show what each of them costs."
    ),
    "compare": CommandEntry(
        "dcss.cli.compare", "Run one workload by every way to file bytes, and show what each costs."
    ),
    "report": CommandEntry("dcss.cli.report", "Write what was proved and measured as one HTML file."),
    "top": CommandEntry("dcss.cli.top", "Show a running system live: guests, segments, hypercalls, and what CP costs."),
    "metrics": CommandEntry("dcss.cli.metrics", "Show a running system as metrics for Prometheus."),
    "exec": CommandEntry("dcss.cli.exec", "Run a command in a guest that is ready, and end with its exit status."),
    "logs": CommandEntry("dcss.cli.logs", "Show the log of a guest, over all its starts, or of CP."),
    "guest": CommandEntry("dcss.cli.guest", "Start, stop or restart one guest of a running system."),
    "down": CommandEntry("dcss.cli.down", "Take a system down: its guests, its shared memory, its CP."),
    "segment": CommandEntry("dcss.cli.segment", "Define, save, load, query, purge, import and export segments."),
    "cp": CommandEntry("dcss.cli.cp", "Send a command to CP, or open a CP console."),
    "image": CommandEntry("dcss.cli.image", "Build, list, read and check ext2 images."),
    "config": CommandEntry("dcss.cli.config", "Check a configuration and show what it would start."),
    "advise": CommandEntry("dcss.cli.advise", "Say what belongs into a segment, and forecast what sharing it saves."),
    "export": CommandEntry("dcss.cli.export", "Write what a real z/VM, QEMU, libvirt or other system takes."),
    "kernel-test": CommandEntry(
        "dcss.cli.kernel_test", "Run checks of the dcssblk driver and its segments in s390x kernels."
    ),
    "fleet": CommandEntry("dcss.cli.fleet", "Run one system's guests on several hosts."),
    "sweep": CommandEntry("dcss.cli.sweep", "Run each configuration of a matrix by itself, and write a row for each."),
    "init": CommandEntry("dcss.cli.init", "Write an example system to the current directory."),
    "schema": CommandEntry(
        "dcss.cli.schema", "Print the JSON Schema of the YAML, for editors, or of a command's document."
    ),
    "doctor": CommandEntry("dcss.cli.doctor", "Show what this machine lacks or limits, and how to fix it."),
    "docs": CommandEntry("dcss.cli.docs", "Show a page of the documentation, or list the pages."),
    "completion": CommandEntry(
        "dcss.cli.completion", "Print a script that completes commands, options, systems and guests."
    ),
}


class LazyGroup(CommandGroup):
    """A group that imports a command when it is used, so that `dcss --help` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return the command, or None where there is no such command."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(entry.module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="dcss", message="%(prog)s %(version)s")
def cli() -> None:
    """Emulate z/VM's shared memory segments (DCSS) on any Linux machine, and prove that guests share them.

    \b
    dcss init demo          write an example system here
    dcss run demo.yaml      run it, prove what it shares, show what it costs
    dcss up demo.yaml -d    leave it running, in the background
    dcss ps, dcss down      see what runs; take it down
    dcss doctor             see what this machine can prove
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit status."""
    collect_seldom()
    end_without_collecting()
    # The caller may have had it ignored: then no child could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    prepare_streams()
    status = _status_of(list(sys.argv[1:] if arguments is None else arguments))
    discard_output()
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    """Run one command. click's own `main` would take any EPIPE or EOFError for one of the terminal."""
    completing = os.environ.get(COMPLETE_VARIABLE)
    if completing is not None:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "dcss", COMPLETE_VARIABLE, completing)
    try:
        with cli.make_context("dcss", arguments) as context:
            status = cli.invoke(context)
    except click.exceptions.Exit as ended:  # --help and --version
        return ended.exit_code
    return status if isinstance(status, int) else 0


def _status_of(arguments: list[str]) -> int:
    """Run a command and return its exit status; errors go to stderr, with DCSS_TRACEBACK=1 with a traceback."""
    try:
        with signals_interrupt():
            status = _run(arguments)
            sys.stdout.flush()
            return status
    except ReaderGoneError:
        return _EXIT_SIGNAL + signal.SIGPIPE
    except Exception as error:
        if os.environ.get("DCSS_TRACEBACK") == "1":
            import traceback

            traceback.print_exc()
        return _report(error, as_json=_asks_for_json(arguments))
    except KeyboardInterrupt as error:
        return _EXIT_SIGNAL + (error.number if isinstance(error, SignalledError) else signal.SIGINT)


def _report(error: Exception, *, as_json: bool) -> int:
    """Write an error to stderr, one line for each thing that is wrong, and return the exit status.

    Where a JSON document was asked for and none is written yet, the error is the document.
    """
    lines, status = _lines_of(error)
    for line in lines:
        echo_error(line)
    if as_json and not is_json_printed() and not isinstance(error, OutputError):
        document = {"kind": type(error).__name__, "lines": lines or [str(error)], "exit_status": status}
        print_json({"error": document})
    return status


def _lines_of(error: Exception) -> tuple[list[str], int]:
    """Return what is wrong, one line for each thing, and the exit status. A bug's traceback is written to stderr."""
    lines: Sequence[str]
    match error:
        case ConfigError():
            lines, status = error.findings, EXIT_USAGE
        case click.exceptions.NoArgsIsHelpError():
            return error.format_message().splitlines(), EXIT_USAGE
        case click.UsageError():
            where = error.ctx.command_path if error.ctx is not None else "dcss"
            lines, status = [f"{where}: {error.format_message()} (see {where} --help)"], EXIT_USAGE
        case click.ClickException():
            lines, status = [f"dcss: {error.format_message()}"], EXIT_USAGE
        case DcssError():
            lines, status = [f"dcss: {error}"], EXIT_USAGE if isinstance(error, ImageError) else EXIT_FAILED
        case OSError():
            lines, status = [f"dcss: {_told(error)}"], EXIT_FAILED
        case _:  # a bug of this program: the traceback goes into the report of it
            import traceback

            traceback.print_exception(error)
            return [], EXIT_FAILED
    return [" ".join(part.strip() for part in line.splitlines()) for line in lines], status


def _told(error: OSError) -> str:
    """Return which file it is about, where it says so, and what the system says."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _asks_for_json(arguments: list[str]) -> bool:
    """Return True if --json stands among a command's own words: those after -- are another program's."""
    return "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)

"""The manual page dcss(1): what --help says of every command, in troff's man macros (man(7))."""

import importlib
import inspect
from collections.abc import Iterator

import click

from dcss.version import VERSION

_EXIT_STATUSES = (
    ("0", "The command succeeded, and what it checks is true."),
    ("1", "A verdict is refuted or unproved, or CP refused a command."),
    ("2", "The command line or the configuration is wrong."),
    ("3", "A part of the system failed at run time, or the output cannot be written."),
    ("128 + N", "Signal N ended the command."),
)


def manual_page() -> str:
    """Return the page of all commands."""
    from dcss.cli.main import COMMANDS, cli

    lines = [
        f'.TH DCSS 1 "" "dcss {VERSION}" "User Commands"',
        ".SH NAME",
        r"dcss \- emulate z/VM's shared memory segments, and prove that guests share them",
        ".SH SYNOPSIS",
        ".B dcss",
        r"\fICOMMAND\fR [\fIOPTION\fR...] [\fIARGUMENT\fR...]",
        ".SH DESCRIPTION",
        *_prose(cli),
        ".SH COMMANDS",
    ]
    context = click.Context(cli, info_name="dcss")
    for entry in COMMANDS.values():
        lines += _command(importlib.import_module(entry.module).command, context)
    lines += [".SH EXIT STATUS"]
    for status, meaning in _EXIT_STATUSES:
        lines += [".TP", f".B {_escaped(status)}", _escaped(meaning)]
    lines += [
        ".SH SEE ALSO",
        r"\fBdcss docs\fR lists the pages of the documentation, \fBdcss docs\fR \fIPAGE\fR shows one.",
    ]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, parent: click.Context) -> Iterator[str]:
    """Yield a command's section, and those of the commands below it."""
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join(piece.replace("[OPTIONS]", "").strip() for piece in command.collect_usage_pieces(context))
    yield f".SS {_escaped(' '.join(f'{context.command_path} {usage}'.split()))}"
    yield from _prose(command)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            names, text = record
            yield from (".TP", f".B {_escaped(names)}", _escaped(text))
    if isinstance(command, click.Group):
        for part in command.commands.values():
            yield from _command(part, context)


def _prose(command: click.Command) -> Iterator[str]:
    """Yield a command's help; paragraphs that click does not wrap (backspace) keep their lines."""
    for number, paragraph in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        lines = paragraph.splitlines()
        if lines[:1] == ["\b"]:
            yield from (".PP", ".nf", *map(_escaped, lines[1:]), ".fi")
        else:
            yield from ((".PP",) if number else ())
            yield from map(_escaped, lines)


def _escaped(text: str) -> str:
    """Return text that troff takes as it is: no escapes, no requests, and hyphens that can be copied."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    text = "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in text)
    return rf"\&{text}" if text.startswith((".", "'")) else text

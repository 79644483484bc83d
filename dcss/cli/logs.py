"""`dcss logs [GUEST]`: show the log of a guest's kernel and workload, or of CP."""

import json
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import click

from dcss.cli.options import json_begins, json_option, print_json
from dcss.cli.systems import complete_guest, running_systems, system_option
from dcss.errors import ConfigError
from dcss.host.text import is_encodable
from dcss.suggest import suggestion

if TYPE_CHECKING:
    from dcss.rpc.client import FoundSystem

_LOOK_SECONDS = 0.1
_READ_BYTES = 1 << 16
_CP_LOG = "cp"  # a guest's name has no small letters


@click.command("logs")
@click.argument("guest", required=False, shell_complete=complete_guest)
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they arrive, until the system is down or Ctrl-C.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@system_option
@json_option
def command(guest: str | None, follow: bool, tail: int | None, system: str | None, as_json: bool) -> None:
    """Show the log of a guest, over all its starts, or of CP.

    \b
    dcss logs LINUX01
    dcss logs LINUX01 -f --system demo
    dcss logs LINUX01 -f --json         a JSON document for each line
    dcss logs --tail 20

    Without GUEST, the log of CP is shown. If CP was killed, the logs stay until the system is started again.
    """
    if guest is not None and (not guest or "/" in guest or not is_encodable(guest)):
        raise ConfigError(f"dcss logs: GUEST: found {guest!r}, wanted the name of a guest, or none for CP's log")
    found = _found(system)
    path = found.directory / f"{guest or _CP_LOG}.log"
    try:
        log = path.open("rb")
    except FileNotFoundError:
        logs = sorted(each.stem for each in found.directory.glob("*.log") if each.stem != _CP_LOG)
        who = f"guest {guest}" if guest else "CP"
        known = ", ".join(logs) + suggestion(guest or "", logs)
        raise ConfigError(f"system {found.name}: found no log of {who}, wanted one of {known}") from None
    with log:
        if tail is not None:
            _seek_last(log, tail)
        if as_json and follow:
            json_begins()
            _copy(log, found.pid, _JsonLines(found.name, guest))
        elif as_json:
            text = log.read().decode(errors="surrogateescape")
            print_json({"system": found.name, "guest": guest, "path": str(path), "log": text})
        else:
            _copy(log, found.pid if follow else None, _Text())


def _seek_last(log: BinaryIO, lines: int) -> None:
    """Go to the beginning of the last lines; one at the end that is not complete counts."""
    end = log.seek(0, os.SEEK_END)
    if not lines:
        return
    position = max(end - 1, 0)  # a line break at the very end begins no line
    while position:
        length = min(_READ_BYTES, position)
        position = log.seek(position - length)
        data = log.read(length)
        at = length
        while (at := data.rfind(b"\n", 0, at)) >= 0:
            lines -= 1
            if not lines:
                log.seek(position + at + 1)
                return
    log.seek(0)


class _Text:
    """Writes a log to stdout: as it is or, to a terminal, without characters that the terminal obeys."""

    def __init__(self) -> None:
        from codecs import getincrementaldecoder

        self._decoder = getincrementaldecoder("utf-8")("surrogateescape") if sys.stdout.isatty() else None

    def write(self, data: bytes) -> None:
        if self._decoder is None:
            sys.stdout.buffer.write(data)
        else:
            from dcss.report.quoting import escaped

            sys.stdout.write(escaped(self._decoder.decode(data), keep="\n\t"))

    def end(self) -> None:
        """Do nothing more: all was written as it came."""


class _JsonLines:
    """Writes each complete line of a log to stdout as a JSON document, and at the end what is left."""

    def __init__(self, system: str, guest: str | None) -> None:
        self._head = {"system": system, "guest": guest}
        self._rest = b""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._write(line)

    def end(self) -> None:
        if self._rest:
            self._write(self._rest)

    def _write(self, line: bytes) -> None:
        click.echo(json.dumps({**self._head, "line": line.decode(errors="surrogateescape")}))


def _copy(log: BinaryIO, pid: int | None, form: _Text | _JsonLines) -> None:
    """Write a log to stdout; if CP's process is given, follow the log until that process ends."""
    ended = True
    pidfd = -1
    poll = select.poll()
    if pid is not None:
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            poll.register(pidfd, select.POLLIN)
            ended = False
    try:
        while True:
            while data := log.read(_READ_BYTES):
                form.write(data)
            if ended:
                form.end()
            sys.stdout.flush()
            if ended:
                return
            # After the end of CP, read once more: it wrote until then.
            ended = bool(poll.poll(_LOOK_SECONDS * 1000))
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _found(system: str | None) -> "FoundSystem":
    """Return the named system, or the only one: the one that runs, else one whose CP was killed."""
    from dcss.rpc.client import find_systems

    found = find_systems()
    running = running_systems()
    if system is None and len(running) == 1:
        system = running[0]
    wanted = [each for each in found if system in {None, each.name}]
    if len(wanted) != 1:
        names = [each.name for each in found]
        if not names:
            what = "none that was started" if system is None else f"{system}, which was not started"
            raise ConfigError(f"SYSTEM: found {what}, wanted one; start it: dcss up CONFIG")
        what = f"{len(names)} that were started" if system is None else f"{system}, which was not started"
        near = suggestion(system or "", names)
        raise ConfigError(f"SYSTEM: found {what}, wanted the name of one of {', '.join(names)}{near}")
    return wanted[0]

"""The CP that `dcss cp` and `dcss segment` operate: the one that runs the system, or else one for this command."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from dcss.cli.options import EXIT_FAILED, EXIT_REFUTED
from dcss.cli.systems import running_systems
from dcss.errors import ConfigError, LaunchError, SystemBusyError

if TYPE_CHECKING:
    from dcss.cp.program import ControlProgram
    from dcss.cp.requests import OperatorRequest, Response

BUSY_SECONDS = 60.0  # a CP that does not listen: another command for an instant, or a system that starts
_RETRY_SECONDS = 0.05
DEFAULT_SYSTEM = "default"  # whose spool is used if no system is named

system_option = click.option(
    "--system",
    default=DEFAULT_SYSTEM,
    show_default=True,
    metavar="SYSTEM",
    help="The system whose CP and spool are used.",
)


class Operator(Protocol):
    """Makes requests to a CP. A request that CP refuses has a response; what fails is raised, as a DcssError."""

    def perform(self, request: "OperatorRequest") -> "Response":
        """Have CP do what the request asks for."""


def response_document(response: "Response") -> dict[str, object]:
    """Return what the documents of `dcss cp` and `dcss segment` have in common."""
    return {"return_code": response.return_code, "lines": list(response.lines)}


def shell_hints(response: "Response", system: str) -> Iterator[str]:
    """Yield the shell's line for what a refusal of CP suggests in CP's own commands."""
    from dcss.cp.console import messages

    save, purge = "dcss segment save {name} --image SRC", "dcss segment purge {name}"
    lines = {
        messages.SKELETON_EXISTS.number: (save, purge),
        messages.NO_SKELETON.number: ("dcss segment define {name} RANGES...",),
        messages.NOTHING_TO_SAVE.number: (save, purge),
        messages.NOT_SAVED.number: (save,),
    }.get(response.return_code, ())
    named = re.search(r"Saved segment (\S+)", " ".join(response.lines))
    if lines and named is not None:
        yield "in the shell: " + ", or ".join(f"{line.format(name=named[1])} --system {system}" for line in lines)


def exit_status(response: "Response") -> int:
    """Return a command's exit status: what CP refuses is not what failed, a full disk for one."""
    from dcss.cp.console.messages import SPOOL_FAILED

    if response.return_code == SPOOL_FAILED.number:
        return EXIT_FAILED
    return EXIT_REFUTED if response.return_code else 0


@contextmanager
def operator_of(system: str, on_interrupt: Callable[[], None] = lambda: None) -> Iterator[Operator]:
    """Yield the operator of a system's CP; if none runs, be CP until the end of the block.

    `on_interrupt` is called if a request is interrupted while it copies in this process, and may cut that short. Raises
    ConfigError for a name that no system can have, SystemBusyError if a CP runs that does not listen.
    """
    from dcss.host.paths import check_system_name

    try:
        check_system_name(system)
    except ValueError as error:
        raise ConfigError(f"--system: {error}") from error
    cp = _own_cp(system)
    if cp is None:
        yield _RemoteOperator(system)
        return
    if system == DEFAULT_SYSTEM:
        _note_running_systems()
    with cp:
        yield _LocalOperator(cp, on_interrupt)


def perform(operator: Operator, make_request: "Callable[[], OperatorRequest]") -> "Response":
    """Make a request and return its response; one that cannot be made is refused, as CP's console does it."""
    from dcss.cp.console.messages import CommandError
    from dcss.cp.requests import Response

    try:
        request = make_request()
    except CommandError as error:
        return Response.refusal(error)
    return operator.perform(request)


@cache
def _note_running_systems() -> None:
    """Print, once, that systems run which this command, that names none, does not mean."""
    if running := running_systems():
        names = " or ".join(f"--system {name}" for name in running)
        click.echo(
            f"note: this is the spool of system {DEFAULT_SYSTEM}, which does not run; one that does: {names}", err=True
        )


def _own_cp(system: str) -> "ControlProgram | None":
    """Return a CP for this command alone, or None if one runs that listens."""
    until = time.monotonic() + BUSY_SECONDS
    while not _listens(system):
        from dcss.cp.program import ControlProgram  # not earlier: a command for a CP that runs does without

        try:
            cp = ControlProgram(system)
        except SystemBusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(_RETRY_SECONDS)
            continue
        cp.report_findings(lambda finding: click.echo(f"warning: {finding}", err=True))
        return cp
    return None


def _listens(system: str) -> bool:
    from dcss.rpc.client import Client

    try:
        Client(system).close()
    except (ConfigError, LaunchError):  # none runs, or it was killed: whoever tries for the lock finds out which
        return False
    return True


class _LocalOperator:
    """Operates a CP in this process."""

    def __init__(self, cp: "ControlProgram", on_interrupt: Callable[[], None]) -> None:
        self._cp, self._on_interrupt = cp, on_interrupt

    def perform(self, request: "OperatorRequest") -> "Response":
        from dcss.host.signals import run_interruptible

        return run_interruptible(self._cp.perform(request), self._on_interrupt)


class _RemoteOperator:
    """Operates the CP that runs a system, through its control socket."""

    def __init__(self, system: str) -> None:
        self._system = system

    def perform(self, request: "OperatorRequest") -> "Response":
        from dcss.cp.requests import ConsoleCommand, Export, Import, QueryNames, QueryUserid, Save, Store
        from dcss.host.paths import state_directory

        assert not isinstance(request, Store | QueryNames | QueryUserid), "only a console command asks for that"
        if isinstance(request, ConsoleCommand):
            return self._ask("cp", request.arguments())
        if isinstance(request, Import | Export):
            request = replace(request, image=request.image.resolve())  # here: CP has a /dev/stdin of its own
        if isinstance(request, Save) and callable(request.content):
            import tempfile

            # Written here, so that CP copies it only; beside the spool, which has to have room for it anyway.
            with tempfile.TemporaryFile(dir=state_directory(), buffering=0) as content:
                request.content(content.fileno())
                path = Path(f"/proc/{os.getpid()}/fd/{content.fileno()}")
                return self._ask("segment", replace(request, content=path).arguments())
        return self._ask("segment", request.arguments())

    def _ask(self, request: str, arguments: dict[str, Any]) -> "Response":
        from dcss.cp.requests import Response
        from dcss.rpc.client import Client

        with Client(self._system) as client:
            return Response.from_arguments(client.ask(request, **arguments))

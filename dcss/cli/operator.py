"""The CP that `dcss cp` and `dcss segment` operate: the one that runs the system, or else one for this command."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from dcss.cli.options import EXIT_FAILED, EXIT_REFUTED
from dcss.cli.systems import running_systems
from dcss.errors import ConfigError, LaunchError, SystemBusyError

if TYPE_CHECKING:
    from dcss.abi.extmem import SegmentDefinition
    from dcss.cp.console.commands import Response
    from dcss.cp.program import ControlProgram
    from dcss.cp.segments.content import Fill

BUSY_SECONDS = 10.0  # another command of this kind holds the spool for an instant, a starting CP until it listens
_LOOK_SECONDS = 0.05

DEFAULT_SYSTEM = "default"  # DESIGN.md, section 9: the spool where no system is named

system_option = click.option(
    "--system",
    default=DEFAULT_SYSTEM,
    show_default=True,
    metavar="SYSTEM",
    help="The system whose CP and spool are used.",
)


class Operator(Protocol):
    """Gives commands and requests to a CP. What CP refuses is a response; what fails is raised, as a DcssError."""

    def command(self, line: str) -> "Response":
        """Give a CP command."""

    def save(self, name: str, fill: "Fill") -> "Response":
        """SAVESEG with the content that `fill` writes."""

    def import_image(
        self, image: Path, definition: "SegmentDefinition", digest: str | None, advance: Callable[[int], None]
    ) -> "Response":
        """Define and save a segment from a file, which must have `digest` where one is given."""

    def load(self, name: str) -> "Response":
        """Bring a saved segment into storage, its digest checked."""

    def export(self, name: str, image: Path) -> "Response":
        """Write a segment's saved content and its manifest to files."""


def response_document(response: "Response") -> dict[str, object]:
    """Return what the documents of `dcss cp` and `dcss segment` have in common."""
    return {"return_code": response.return_code, "lines": list(response.lines)}


def exit_status(response: "Response") -> int:
    """Return a command's exit status: what CP refuses is not what failed, a full disk for one."""
    from dcss.cp.console.messages import SPOOL_FAILED

    if response.return_code == SPOOL_FAILED.number:
        return EXIT_FAILED
    return EXIT_REFUTED if response.return_code else 0


@contextmanager
def operator_of(system: str) -> Iterator[Operator]:
    """Yield the operator of a system's CP; where none runs, be CP until the end of the block.

    Raises ConfigError for a name that no system can have, SystemBusyError where a CP runs that does not listen.
    """
    from dcss.host.paths import check_system_name

    try:
        check_system_name(system)
    except ValueError as error:
        raise ConfigError(f"--system: {error}") from error
    cp = _own_cp(system)
    if cp is None:
        yield _Remote(system)
        return
    if system == DEFAULT_SYSTEM:
        _tell_what_runs()
    with cp:
        yield _Local(cp)


@cache
def _tell_what_runs() -> None:
    """Say once that systems run which this command, that names none, does not mean."""
    if running := running_systems():
        names = " or ".join(f"--system {name}" for name in running)
        click.echo(
            f"note: this is the spool of system {DEFAULT_SYSTEM}, which does not run; one that does: {names}", err=True
        )


def _own_cp(system: str) -> "ControlProgram | None":
    """Return a CP for this command alone, or None where one runs that listens."""
    from dcss.cp.program import ControlProgram

    until = time.monotonic() + BUSY_SECONDS
    while not _listens(system):
        try:
            cp = ControlProgram(system)
        except SystemBusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_SECONDS)
            continue
        cp.tell_findings(lambda finding: click.echo(f"warning: {finding}", err=True))
        return cp
    return None


def _listens(system: str) -> bool:
    from dcss.rpc.client import Client

    try:
        Client(system).close()
    except (ConfigError, LaunchError):  # none runs, or it was killed: the lock says which, for who wants it
        return False
    return True


class _Local:
    """Operates a CP in this very process."""

    def __init__(self, cp: "ControlProgram") -> None:
        self._cp = cp

    def command(self, line: str) -> "Response":
        return self._cp.execute(line)

    def save(self, name: str, fill: "Fill") -> "Response":
        from dcss.cp.operations import save_image
        from dcss.cp.steps import run_to_completion

        return run_to_completion(save_image(self._cp, name, fill))

    def import_image(
        self, image: Path, definition: "SegmentDefinition", digest: str | None, advance: Callable[[int], None]
    ) -> "Response":
        from dcss.cp.operations import import_image
        from dcss.cp.steps import run_to_completion

        return run_to_completion(import_image(self._cp, image, definition, digest, advance))

    def load(self, name: str) -> "Response":
        from dcss.cp.operations import bring_in

        return bring_in(self._cp, name)

    def export(self, name: str, image: Path) -> "Response":
        from dcss.cp.operations import export
        from dcss.cp.steps import run_to_completion

        return run_to_completion(export(self._cp, name, image))


class _Remote:
    """Operates the CP that runs a system, through its control socket."""

    def __init__(self, system: str) -> None:
        self._system = system

    def command(self, line: str) -> "Response":
        return self._ask("cp", command=line)

    def save(self, name: str, fill: "Fill") -> "Response":
        from dcss.host.paths import state_directory

        # Written here, so that CP serves its guests meanwhile; beside the spool, which has to have room for it anyway.
        with tempfile.TemporaryFile(dir=state_directory(), buffering=0) as content:
            fill(content.fileno())
            path = f"/proc/{os.getpid()}/fd/{content.fileno()}"
            return self._ask("segment", action="save", name=name, content=path)

    def import_image(
        self, image: Path, definition: "SegmentDefinition", digest: str | None, advance: Callable[[int], None]
    ) -> "Response":
        from dcss.cp.console.definition import definition_words

        del advance  # CP copies it in one go
        words = definition_words(definition)
        return self._ask("segment", action="import", image=str(image.absolute()), define=words, digest=digest)

    def load(self, name: str) -> "Response":
        return self._ask("segment", action="load", name=name)

    def export(self, name: str, image: Path) -> "Response":
        return self._ask("segment", action="export", name=name, image=str(image.absolute()))

    def _ask(self, request: str, **arguments: Any) -> "Response":
        from dcss.cp.console.commands import Response
        from dcss.rpc.client import Client

        with Client(self._system) as client:
            result = client.ask(request, **arguments)
        return Response(result["return_code"], tuple(result["lines"]), result["files"])

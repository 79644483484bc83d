"""What CP answers on its control socket to whoever may operate it: commands (`cp`) and requests about segments.

The result is a response: return code, lines, and what they say as data. docs/control-protocol.md describes it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from dcss.cp.console.commands import Response
from dcss.cp.console.definition import parse_definition
from dcss.cp.console.messages import CommandError
from dcss.cp.operations import bring_in, export, import_image, save_image
from dcss.cp.program import ControlProgram
from dcss.cp.segments.content import file_fill
from dcss.cp.steps import Steps
from dcss.errors import ConfigError, LaunchError
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments
from dcss.rpc.server import Handler
from dcss.system.jobs import Outcome

Action = Callable[[ControlProgram, Arguments], Steps[Response]]


class Runner(Protocol):
    """Runs steps and tells what they came to, as `Jobs.run` does."""

    def __call__(self, steps: Steps[Response], done: Callable[[Outcome[Response]], None]) -> object:
        """`done` is called once, at once or later."""


def operator_handlers(cp: ControlProgram, run: Runner) -> Mapping[str, Handler]:
    """Return the handlers by the request's name; what takes long is given to `run`."""

    def answer(client: ClientConnection, steps: Steps[Response]) -> None:
        run(steps, lambda outcome: client.attempt(lambda: client.finish(response_form(outcome()))))

    def command(client: ClientConnection, arguments: Arguments) -> None:
        answer(client, cp.execute_steps(_text(arguments, "command")))

    def segment(client: ClientConnection, arguments: Arguments) -> None:
        if arguments.get("action") == "load":
            client.finish(response_form(bring_in(cp, _text(arguments, "name"))))
            return
        action = _ACTIONS.get(str(arguments.get("action")))
        if action is None:
            raise ConfigError(
                f"segment: action: found {arguments.get('action')!r}, wanted one of load, {', '.join(_ACTIONS)}"
            )
        answer(client, action(cp, arguments))

    return {"cp": command, "segment": segment}


def response_form(response: Response) -> Arguments:
    """Return a response as the control socket carries it."""
    return {"return_code": response.return_code, "lines": list(response.lines), "files": response.data}


def _save(cp: ControlProgram, arguments: Arguments) -> Steps[Response]:
    content = _path(arguments, "content")
    return save_image(cp, _text(arguments, "name"), file_fill(content), image_bytes=_size_bytes(content))


def _import(cp: ControlProgram, arguments: Arguments) -> Steps[Response]:
    digest = arguments.get("digest")
    if digest is not None:
        digest = _text(arguments, "digest")
    try:
        definition = parse_definition(_text(arguments, "define").upper().split())
    except CommandError as error:
        return Response(error.return_code, (error.line,))
    return (yield from import_image(cp, _path(arguments, "image"), definition, digest))


def _text(arguments: Arguments, key: str) -> str:
    found = arguments.get(key)
    if not isinstance(found, str):
        raise ConfigError(f"request: {key}: found {found!r}, wanted text")
    return found


def _path(arguments: Arguments, key: str) -> Path:
    path = Path(_text(arguments, key))
    if not path.is_absolute():
        raise ConfigError(f"request: {key}: found {str(path)!r}, wanted an absolute path")
    return path


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise LaunchError(f"{path}: CP cannot read it: {error.strerror}") from error


_ACTIONS: Mapping[str, Action] = {
    "save": _save,
    "import": _import,
    "export": lambda cp, arguments: export(cp, _text(arguments, "name"), _path(arguments, "image")),
}

"""What CP answers on its control socket to whoever may operate it: commands (`cp`) and requests about segments.

The result is a response: return code, lines, and the same as data. docs/control-protocol.md describes it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from dcss.cp.console.commands import Response
from dcss.cp.console.definition import parse_definition
from dcss.cp.console.messages import CommandError
from dcss.cp.operations import bring_in, export, import_image, save_image
from dcss.cp.program import ControlProgram
from dcss.cp.segments.content import file_fill
from dcss.cp.steps import Steps
from dcss.errors import ConfigError, LaunchError
from dcss.host.aio import TaskSet
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments
from dcss.rpc.server import Handler
from dcss.system.steps import run_steps

Action = Callable[[ControlProgram, Arguments], Steps[Response]]


def operator_handlers(cp: ControlProgram, tasks: TaskSet) -> Mapping[str, Handler]:
    """Return the handlers by the request's name. What they began ends in `tasks`, also when the client has gone."""

    async def answer(steps: Steps[Response], name: str) -> Arguments:
        return response_form(await tasks.finish(run_steps(steps), name))

    async def command(_client: ClientConnection, arguments: Arguments) -> Arguments:
        line = _text(arguments, "command")
        return await answer(cp.execute_steps(line), f"cp {line}")

    async def segment(_client: ClientConnection, arguments: Arguments) -> Arguments:
        action = str(arguments.get("action"))
        if action == "load":
            return response_form(bring_in(cp, _text(arguments, "name")))
        if action not in _ACTIONS:
            raise ConfigError(
                f"segment: action: found {arguments.get('action')!r}, wanted one of load, {', '.join(_ACTIONS)}"
            )
        return await answer(_ACTIONS[action](cp, arguments), f"segment {action}")

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

"""What a client of `exec` asks for beside the words of its command."""

from collections.abc import Awaitable, Callable

from dcss.abi.programs import TerminalSize
from dcss.engines.base import ExecOptions
from dcss.errors import ConfigError
from dcss.host.text import is_encodable
from dcss.rpc.connection import ClientConnection
from dcss.rpc.protocol import Arguments, Output

_MAX_CHARACTERS = (1 << 16) - 1


def exec_options(client: ClientConnection, arguments: Arguments) -> ExecOptions | None:
    """Return what the arguments of an `exec` request ask for; None where that is nothing. Raises ConfigError.

    Where they ask for input, the client's events are accepted from now on.
    """
    environment = arguments.get("environment") or []
    if not isinstance(environment, list) or not all(map(_is_variable, environment)):
        raise ConfigError("exec: environment: wanted a list of texts such as NAME=VALUE")
    directory = arguments.get("directory")
    if directory is not None and not (isinstance(directory, str) and directory and is_encodable(directory)):
        raise ConfigError(f"exec: directory: found {directory!r}, wanted a path")
    flags = {name: arguments.get(name, False) for name in ("input", "strace", "gdb")}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ConfigError(f"exec: {name}: found {flag!r}, wanted true or false")
    options = ExecOptions(
        tuple(environment), directory or "/", _terminal(arguments.get("terminal")), strace=flags["strace"]
    )
    if flags["input"] or flags["gdb"]:
        client.accept_events()
        options = options._replace(
            has_input=flags["input"],
            events=client.next_event,
            input_taken=client.send_taken,
            debugger=_to_gdb(client) if flags["gdb"] else None,
        )
    return None if options == ExecOptions() else options


def _to_gdb(client: ClientConnection) -> Callable[[bytes], Awaitable[None]]:
    async def send(data: bytes) -> None:
        await client.send_output(Output("gdb", data))

    return send


def _is_variable(entry: object) -> bool:
    return isinstance(entry, str) and entry.find("=") > 0 and is_encodable(entry)


def _terminal(size: object) -> TerminalSize | None:
    if size is None:
        return None
    match size:
        case [int(rows), int(columns)] if 0 <= rows <= _MAX_CHARACTERS and 0 <= columns <= _MAX_CHARACTERS:
            return TerminalSize(rows, columns)
        case _:
            raise ConfigError(f"exec: terminal: found {size!r}, wanted rows and columns")

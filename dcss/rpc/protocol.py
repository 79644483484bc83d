"""What crosses a CP's control socket: lines of JSON. docs/control-protocol.md describes it for other programs.

A client sends one request; CP answers with any number of outputs, then one result or one error, and closes. While a
program runs for it, the client may send what is to reach the program, and CP says how much of that was read.
"""

import base64
import json
import struct
from typing import Any, Literal, NamedTuple

from dcss.abi import programs
from dcss.abi.programs import ProgramEvent
from dcss.errors import ConfigError, DcssError, LaunchError

VERSION = 1
SOCKET_NAME = "control"
MAX_REQUEST_BYTES = 1 << 19  # a guest's command of 64 KiB, every byte of it escaped
MAX_SIGNAL = 64  # _NSIG of Linux
LINE_END = b"\n"

Arguments = dict[str, Any]
Stream = Literal["stdout", "stderr", "gdb"]


class ControlRequest(NamedTuple):
    """What a client asks for."""

    name: str
    arguments: Arguments

    def pack(self) -> bytes:
        """Return the line."""
        return _line({"dcss": VERSION, "request": self.name, "arguments": self.arguments})

    @classmethod
    def unpack(cls, line: bytes) -> "ControlRequest":
        """Read a line. Raises ConfigError if it is not a request of this version."""
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"request: found {line[:40]!r}, wanted one line of JSON ({error})") from error
        found = data.get("dcss") if isinstance(data, dict) else None
        if found != VERSION:
            raise ConfigError(f'request: found protocol {found!r}, wanted "dcss": {VERSION}; use the dcss that CP runs')
        name, arguments = data.get("request"), data.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise ConfigError('request: wanted text as "request" and a mapping as "arguments"')
        return cls(name, arguments)


class Output(NamedTuple):
    """A piece of what a command in a guest writes, or of what gdb is told."""

    stream: Stream
    data: bytes

    def pack(self) -> bytes:
        """Return the line."""
        return _line({"output": self.stream, "data": base64.b64encode(self.data).decode()})


class Taken(NamedTuple):
    """So many bytes of a program's standard input were read: the client may send as many more."""

    size_bytes: int

    def pack(self) -> bytes:
        """Return the line."""
        return _line({"taken": self.size_bytes})


def event_line(event: ProgramEvent) -> bytes:
    """Return the line by which a client says something to its program."""
    match event.kind:
        case programs.INPUT:
            return _line({"input": base64.b64encode(event.data).decode()})
        case programs.DEBUG:
            return _line({"gdb": base64.b64encode(event.data).decode()})
        case programs.RESIZE:
            return _line({"window": list(programs.SIZE.unpack(event.data))})
        case programs.SIGNAL:
            return _line({"signal": programs.STATUS.unpack(event.data)[0]})
        case _:
            return _line({"input": None})


def read_event(line: bytes) -> ProgramEvent:
    """Read a line that a client sends after its request. Raises ConfigError where it says nothing to a program."""
    try:
        ((name, value),) = json.loads(line).items()
        if name == "input" and value is None:
            return ProgramEvent(programs.INPUT_END)
        if name in {"input", "gdb"}:
            kind = programs.INPUT if name == "input" else programs.DEBUG
            return ProgramEvent(kind, base64.b64decode(value, validate=True))
        if name == "window":
            return ProgramEvent(programs.RESIZE, programs.SIZE.pack(*value))
        if name == "signal" and 0 < value <= MAX_SIGNAL:
            return ProgramEvent(programs.SIGNAL, programs.STATUS.pack(value))
    except (ValueError, TypeError, AttributeError, struct.error, RecursionError):
        pass
    raise ConfigError(f"exec: found {line[:40]!r}, wanted one of input, window, signal and gdb, with its value")


def result_line(result: Arguments) -> bytes:
    """Return the last line of an answer."""
    return _line({"result": result})


def error_line(error: DcssError) -> bytes:
    """Return the last line of an answer to what cannot be done."""
    usage = isinstance(error, ConfigError)
    lines = list(error.findings) if isinstance(error, ConfigError) else [str(error)]
    return _line({"error": {"kind": "usage" if usage else "failed", "lines": lines}})


def read_answer(line: bytes) -> Output | Taken | Arguments:
    """Read one line of an answer; an error among them is raised, as ConfigError or LaunchError."""
    try:
        data = json.loads(line)
        if "result" in data:
            result: Arguments = data["result"]
            return result
        if "output" in data:
            return Output(data["output"], base64.b64decode(data["data"]))
        if "taken" in data:
            return Taken(int(data["taken"]))
        kind, lines = data["error"]["kind"], data["error"]["lines"]
    except (ValueError, KeyError, TypeError) as error:
        raise LaunchError(f"control socket: found {line[:40]!r}, wanted a line of protocol {VERSION}") from error
    raise ConfigError(*lines) if kind == "usage" else LaunchError(*lines)


def _line(data: Arguments) -> bytes:
    return json.dumps(data).encode() + LINE_END

"""What CP's control socket answers to `cp` and `segment`, and what it refuses to take for a request."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cp_support import control_program, define, filler

from dcss.cp.program import ControlProgram
from dcss.cp.spool.transfer import manifest_of
from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.host.aio import TaskSet
from dcss.rpc.connection import ClientConnection
from dcss.system.operator import operator_handlers

Answer = dict[str, Any]


@pytest.fixture
def cp() -> Iterator[ControlProgram]:
    with control_program() as running:
        running.saved.store(define("LIB", "20000-2000F SR"), filler(b"words"))
        yield running


def ask(cp: ControlProgram, request: str, **arguments: object) -> Answer:
    """Hand a request to its handler, and return its result."""

    async def answer() -> Answer:
        handler = operator_handlers(cp, TaskSet())[request]
        return await handler(cast(ClientConnection, None), arguments)

    return asyncio.run(answer())


def test_a_command_is_answered_with_code_lines_and_data(cp: ControlProgram) -> None:
    answer = ask(cp, "cp", command="q nss name lib users")
    assert answer["return_code"] == 0
    assert answer["lines"] == ["FILE FILENAME FILETYPE CL USERS", "0001 LIB      DCSS     A  00000"]
    assert [row["file"] for row in answer["files"]] == [1]
    assert ask(cp, "cp", command="saveseg lib")["return_code"] == 9002


def test_requests_about_segments(cp: ControlProgram, tmp_path: Path) -> None:
    image = tmp_path / "lib.img"
    assert ask(cp, "segment", action="export", name="lib", image=str(image))["files"][0]["file"] == 1
    assert manifest_of(image).exists()
    words = "COPY 30000-3000F SR RSTD"
    answer = ask(cp, "segment", action="import", image=str(image), define=words, digest=None)
    assert answer["lines"] == ["HCPNSS440I Saved segment COPY was successfully saved in fileid 0002."]
    assert answer["files"][0]["class"] == "R"
    assert ask(cp, "segment", action="load", name="copy")["files"][0]["shm"] is not None
    cp.execute("DEFSEG LIB 20000-2001F SR")
    assert ask(cp, "segment", action="save", name="LIB", content=str(image))["files"][0]["file"] == 3
    assert bytes(cp.open(define("LIB", "1-1 SR").name).object.buffer[:6]) == b"words\0"


def test_refusals_are_answers(cp: ControlProgram) -> None:
    for arguments, line in (
        ({"action": "load", "name": "NOSUCH"}, "HCPDCS9003E System data file NOSUCH does not exist"),
        ({"action": "import", "image": "/x", "define": "LIB 1-1"}, "HCPCMD026E Operand missing or invalid"),
    ):
        answer = ask(cp, "segment", **arguments)
        assert (answer["return_code"] > 0, answer["lines"], answer["files"]) == (True, [line], None)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"action": "fly"}, ConfigError, "segment: action: found 'fly', wanted one of load, save, import, export"),
        ({}, ConfigError, "segment: action: found None"),
        ({"action": "load"}, ConfigError, "request: name: found None, wanted text"),
        ({"action": "save", "name": "LIB", "content": "relative"}, ConfigError, "wanted an absolute path"),
        ({"action": "save", "name": "LIB", "content": "/no/such"}, LaunchError, "/no/such: CP cannot read it"),
        ({"action": "import", "image": 7, "define": "A 1-1 SR"}, ConfigError, "request: image: found 7, wanted text"),
        ({"action": "import", "image": "/x", "define": "A 1-1 SR", "digest": 7}, ConfigError, "digest: found 7"),
        ({"action": "import", "image": "/x", "define": "A 1-1 SR"}, DcssError, "/x: could not be imported"),
        ({"action": "export", "name": "LIB", "image": "/proc/x"}, DcssError, "could not be exported to /proc/x"),
    ],
)
def test_wrong_requests_are_errors(
    cp: ControlProgram, arguments: dict[str, object], error: type[DcssError], told: str
) -> None:
    with pytest.raises(error, match=re.escape(told)):
        ask(cp, "segment", **arguments)
    assert list(cp.files) == [1]


def test_a_command_must_be_text(cp: ControlProgram) -> None:
    with pytest.raises(ConfigError, match="request: command: found None, wanted text"):
        ask(cp, "cp")

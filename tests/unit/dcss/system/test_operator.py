"""What CP's control socket answers to `cp` and `segment`, and what it refuses to take for a request."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support import connected_client
from cp_support import BlockingCp, control_program, define, filler

from dcss.cp.spool.transfer import manifest_of
from dcss.errors import ConfigError, DcssError, LaunchError
from dcss.host.aio import TaskSet
from dcss.system.operator import operator_handlers

Answer = dict[str, Any]


@pytest.fixture
def cp() -> Iterator[BlockingCp]:
    with control_program() as running:
        running.saved.store(define("LIB", "20000-2000F SR"), filler(b"words"))
        yield running


def ask(cp: BlockingCp, request: str, **arguments: object) -> Answer:
    """Hand a request to its handler, and return its result."""

    handler = operator_handlers(cp.cp, TaskSet())[request]

    async def answer() -> Answer:
        async with connected_client() as client:
            return await handler(client, arguments)

    return cp.run(answer())


def test_a_command_is_answered_with_code_lines_and_data(cp: BlockingCp) -> None:
    answer = ask(cp, "cp", command="q nss name lib users")
    assert answer["return_code"] == 0
    assert answer["lines"] == ["FILE FILENAME FILETYPE CL USERS", "0001 LIB      DCSS     A  00000"]
    assert [row["file"] for row in answer["files"]] == [1]
    assert ask(cp, "cp", command="saveseg lib")["return_code"] == 9002


def test_requests_about_segments(cp: BlockingCp, tmp_path: Path) -> None:
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


def test_requests_that_are_commands_too(cp: BlockingCp) -> None:
    answer = ask(cp, "segment", action="define", define="new 30000-3000F SR")
    assert answer["lines"] == ["HCPNSD440I Saved segment NEW was successfully defined in fileid 0002."]
    assert ask(cp, "segment", action="save", name="NEW")["files"][0]["class"] == "A"
    assert ask(cp, "segment", action="query", name="new", form="MAP") == ask(cp, "cp", command="q nss name new map")
    assert ask(cp, "segment", action="purge", file="2")["lines"] == ["0001 FILE  PURGED"]
    assert ask(cp, "segment", action="purge", name=None)["lines"] == ["0001 FILE  PURGED"]
    assert ask(cp, "segment", action="query")["lines"] == ["NO NSS FILES"]


def test_refusals_are_answers(cp: BlockingCp) -> None:
    for arguments, line in (
        ({"action": "load", "name": "NOSUCH"}, "HCPDCS9003E System data file NOSUCH does not exist"),
        ({"action": "import", "image": "/x", "define": "LIB 1-1"}, "HCPCMD026E Operand missing or invalid"),
    ):
        answer = ask(cp, "segment", **arguments)
        assert (answer["return_code"] > 0, answer["lines"], answer["files"]) == (True, [line], None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"action": "load"}, ConfigError, "request: name: found None, wanted text"),
        ({"action": "save", "name": "LIB", "content": "/no/such"}, LaunchError, "/no/such: CP cannot read it"),
        ({"action": "import", "image": "/x", "define": "A 1-1 SR"}, DcssError, "/x: could not be imported"),
        ({"action": "export", "name": "LIB", "image": "/proc/x"}, DcssError, "could not be exported to /proc/x"),
    ],
)
def test_wrong_requests_are_errors(
    cp: BlockingCp, arguments: dict[str, object], error: type[DcssError], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        ask(cp, "segment", **arguments)
    assert list(cp.files) == [1]


def test_a_command_must_be_text(cp: BlockingCp) -> None:
    with pytest.raises(ConfigError, match="request: command: found None, wanted text"):
        ask(cp, "cp")

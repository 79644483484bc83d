"""Requests to CP as the control socket carries them: what goes out comes in, and what is wrong is an error."""

import json
from pathlib import Path
from typing import Any

import pytest
from cp_support import define

from dcss.abi.extmem import SegmentName
from dcss.cp.console.commands import COMMANDS, parse_command
from dcss.cp.console.messages import CommandError
from dcss.cp.requests import (
    ALL_FILES,
    SEGMENT_REQUESTS,
    THE_OPERATOR,
    ConsoleCommand,
    Define,
    Export,
    FileSelection,
    Import,
    Load,
    OperatorRequest,
    Purge,
    Query,
    QueryForm,
    QueryUserid,
    Response,
    Save,
    SegmentRequest,
    Store,
    segment_request,
)
from dcss.errors import ConfigError

LIB = SegmentName("LIB")
DEFINITION = define("LIB", "20000-2000F SR", "20100-20100 EW", restricted=True, secure=True)
REQUESTS: list[SegmentRequest] = [
    Define(DEFINITION),
    Save(LIB),
    Save(LIB, Path("/tmp/image")),
    Load(LIB),
    Query(),
    Query(FileSelection(name=LIB), QueryForm.USERS),
    Query(FileSelection(number="0017"), QueryForm.MAP),
    Purge(ALL_FILES),
    Purge(FileSelection(name=LIB)),
    Purge(FileSelection(number="3")),
    Import(Path("/tmp/image"), DEFINITION),
    Import(Path("/tmp/image"), DEFINITION, "ab" * 32),
    Import(Path("/tmp/image"), DEFINITION, first_byte=4096),
    Export((LIB,), Path("/tmp/image")),
    Export((LIB, SegmentName("LIB2")), Path("/tmp/image")),
]


def carried(arguments: dict[str, Any]) -> dict[str, Any]:
    carried: dict[str, Any] = json.loads(json.dumps(arguments))
    return carried


def _kind(request: SegmentRequest) -> str:
    """Name a request without its functions, whose addresses differ between two processes that collect the tests."""
    return type(request).__name__


@pytest.mark.parametrize("request_", REQUESTS, ids=_kind)
def test_a_request_comes_in_as_it_went_out(request_: SegmentRequest) -> None:
    assert segment_request(carried(request_.arguments())) == request_


def test_every_request_is_tested() -> None:
    assert {type(request) for request in REQUESTS} == set(SEGMENT_REQUESTS.values())


def test_a_console_line_and_a_response_come_in_as_they_went_out() -> None:
    command = ConsoleCommand("QUERY NSS  map\udcff")
    assert ConsoleCommand.from_arguments(carried(command.arguments())) == command
    response = Response(9003, ("a line", "another"), [{"file": 1}])
    assert Response.from_arguments(carried(response.arguments())) == response


def test_content_that_a_function_writes_does_not_go_out() -> None:
    with pytest.raises(TypeError):
        Save(LIB, lambda _: None).arguments()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "fly"}, "segment: action: found 'fly', wanted one of define, save, load, query, purge, import, "),
        ({}, "segment: action: found None"),
        ({"action": "load"}, "request: name: found None, wanted text"),
        ({"action": "define", "define": ["LIB"]}, "request: define: found ['LIB'], wanted text"),
        ({"action": "save", "name": "LIB", "content": "relative"}, "wanted an absolute path"),
        ({"action": "save", "name": "LIB", "content": 7}, "request: content: found 7, wanted text"),
        ({"action": "query", "form": "TABLE"}, "request: form: found 'TABLE', wanted one of LIST, MAP, USERS, ATTRIB"),
        ({"action": "query", "file": "1x"}, "request: file: found '1x', wanted digits"),
        ({"action": "query", "name": 7}, "request: name: found 7, wanted text"),
        ({"action": "purge"}, "request: found neither name nor file, wanted one of them, null for all files"),
        ({"action": "import", "image": 7, "define": "A 1-1 SR"}, "request: image: found 7, wanted text"),
        ({"action": "import", "image": "/x", "define": "A 1-1 SR", "digest": 7}, "request: digest: found 7"),
        ({"action": "export", "name": "LIB", "image": "x"}, "request: image: found 'x', wanted an absolute path"),
    ],
)
def test_wrong_requests_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        segment_request(arguments)
    assert str(caught.value).startswith(message) or message in str(caught.value)


def test_what_the_console_refuses_is_refused_in_a_request_too() -> None:
    for arguments in (
        {"action": "load", "name": "NO.NAME"},
        {"action": "purge", "name": "much-too-long"},
        {"action": "define", "define": "LIB 1-1"},
    ):
        with pytest.raises(CommandError):
            segment_request(arguments)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", None),
        ("* a comment", None),
        ("defseg lib 20000-2000f sr 20100-20100 ew rstd secure", Define(DEFINITION)),
        ("saveseg lib", Save(LIB)),
        ("q nss", Query()),
        ("query nss all map", Query(form=QueryForm.MAP)),
        ("query nss name lib user", Query(FileSelection(name=LIB), QueryForm.USERS)),
        ("query nss 0017 attributes", Query(FileSelection(number="0017"), QueryForm.ATTRIBUTES)),
        ("query userid", QueryUserid()),
        ("pur nss all", Purge(ALL_FILES)),
        ("purge nss name lib", Purge(FileSelection(name=LIB))),
        ("purge nss 3", Purge(FileSelection(number="3"))),
        ("store nss lib 20000000 c3d7 00", Store(LIB, 0x20000000, b"\xc3\xd7\0")),
    ],
)
def test_a_console_line_is_a_request(line: str, wanted: OperatorRequest | None) -> None:
    assert parse_command(line, THE_OPERATOR) == wanted


def test_every_command_is_tested() -> None:
    assert [command.name for command in COMMANDS] == ["DEFSEG", "SAVESEG", "PURGE", "STORE", "QUERY"]

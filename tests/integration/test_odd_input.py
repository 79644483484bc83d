"""Digits by the thousand, NUL, surrogates and values of any type: usage errors, and CP goes on."""

import os
from typing import Any

import pytest
from cli_support import GUEST, MAP, Dcss, made_user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcss.cp.requests import SEGMENT_REQUESTS
from dcss.errors import DcssError
from dcss.rpc.client import Client

ODD: list[Any] = [
    "",
    "\0",
    "/\0",
    "\ud800",
    "/\ud800",
    "9" * 5000,
    "../../x",
    2**70,
    -1,
    1e308,
    True,
    None,
    [],
    {},
    [["x"]],
    {"a": {"b": []}},
    "\x1b]0;x\x07\n",
]
ARGUMENTS = {
    "verify": ("evidence",),
    "exec": ("guest", "command"),
    "guest": ("guest", "action"),
    "segment": ("action", "name", "define", "file", "form", "image", "content", "digest", "path"),
    "cp": ("command", "user"),
    "nothing of that name": ("x",),
}


@pytest.fixture(scope="module")
def system() -> Any:
    with made_user() as user:
        user("up", user.config(f"name: O, {GUEST}, {MAP}"), "-d")
        before = os.environ.copy()
        os.environ.update({name: user.environment[name] for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")})
        try:
            yield user
        finally:
            os.environ.clear()
            os.environ.update(before)
            user("down")


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_any_request_is_answered_and_cp_goes_on(system: Dcss, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ARGUMENTS)))
    values = {each: data.draw(st.sampled_from([*ODD, "O", "LIB", *SEGMENT_REQUESTS])) for each in ARGUMENTS[name]}
    with Client(system.system) as client:
        try:
            answer = client.ask(name, timeout_seconds=300, **values)
        except DcssError as error:
            assert "Traceback" not in str(error)
            assert "Error(" not in str(error)
        else:
            assert isinstance(answer, dict)
    assert system.ps()["system"] == system.system
    assert "Traceback" not in (system.directory / "cp.log").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["measure", "--watch", "9" * 5000],
        ["measure", "--watch", "1e999"],
        ["measure", "--watch", "inf"],
        ["measure", "--watch", "nan"],
        ["logs", ""],
        ["logs", "../../x"],
        ["logs", "--tail", "9" * 5000],
        ["cp", "9" * 5000],
        ["segment", "import", "/etc/hostname", "--name", "X", "--at", "9" * 5000],
        ["image", "build", "/etc", "-o", "x.img", "--size", "9" * 5000],
        ["guest", "stop", "\udcff"],
        ["exec", "O\udcff", "--", "ls"],
        ["run", "\udcff.yaml"],
    ],
    ids=lambda words: " ".join(words)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_odd_command_lines_are_usage_errors(system: Dcss, words: list[str]) -> None:
    done = system(*words, status=None, errors="surrogateescape")
    assert done.returncode in {1, 2}, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert system.ps()["system"] == system.system


@pytest.mark.parametrize("value", ['"\\ud800"', '"a\\0b"', "9" * 5000, '"' + "9" * 5000 + '"', '"\\e]0;x\\a"'])
@pytest.mark.parametrize("key", ["system", "tar", "at"])
def test_odd_yaml_is_a_finding(system: Dcss, key: str, value: str) -> None:
    segment = "  - {{name: LIB, at: {at}, image: {{tar: {tar}}}}}".format(
        at=value if key == "at" else "0x20000000", tar=value if key == "tar" else "x.tar"
    )
    (system.home / "odd.yaml").write_text(
        (f"system: {value}\n" if key == "system" else "system: odd\n") + f"segments:\n{segment}\n"
    )
    done = system("run", "odd.yaml", status=2)
    assert done.stdout == ""
    assert all(line.startswith("odd.yaml:") for line in done.stderr.splitlines()), done.stderr

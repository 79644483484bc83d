"""Variables of the environment and free keys in the YAML, as compose files have them."""

from pathlib import Path

import pytest

from dcss.config.document import read_document
from dcss.config.interpolate import interpolate
from dcss.config.load import load_plan
from dcss.config.problems import WrongValueError
from dcss.errors import ConfigError

ENVIRONMENT = {"SET": "value", "EMPTY": "", "_N1": "7"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a ${SET} b", "a value b"),
        ("${SET}${_N1}", "value7"),
        ("${SET:-other}", "value"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${UNSET:-other}", "other"),
        ("${UNSET-/a/b *.so}", "/a/b *.so"),
        ("${UNSET:-}", ""),
        ("${SET:+other}", "other"),
        ("${EMPTY:+other}", ""),
        ("${EMPTY+other}", "other"),
        ("${UNSET+other}", ""),
        ("${SET:?needed}", "value"),
        ("$${SET}", "${SET}"),
        ("$$$${SET}", "$${SET}"),
        ("$$${SET}", "$value"),
        ("$SET $1 $(x) a$", "$SET $1 $(x) a$"),
    ],
)
def test_references_are_replaced_as_compose_replaces_them(text: str, wanted: str) -> None:
    assert interpolate(text, ENVIRONMENT) == (wanted, ())


def test_a_variable_that_is_not_set_is_empty_and_named() -> None:
    assert interpolate("a${UNSET}b${OTHER}", ENVIRONMENT) == ("ab", ("UNSET", "OTHER"))


@pytest.mark.parametrize("text", ["${", "${SET", "${}", "${1A}", "${SET:x}", "${SET:-${OTHER}}", "${SET }"])
def test_a_reference_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(WrongValueError) as caught:
        interpolate(text, ENVIRONMENT)
    assert caught.value.wanted.startswith("${NAME}, ${NAME:-default}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("UNSET", "${UNSET:?set it to a name}"),
        ("EMPTY", "${EMPTY:?set it to a name}"),
        ("UNSET", "${UNSET?set it to a name}"),
    ],
)
def test_a_variable_that_must_be_set_is_an_error_with_its_message(name: str, text: str) -> None:
    with pytest.raises(WrongValueError) as caught:
        interpolate(text, ENVIRONMENT)
    assert caught.value.mends == "set it to a name"
    assert caught.value.wanted == f"the environment variable {name} to be set"


def test_an_unquoted_value_may_become_a_number_and_a_quoted_one_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: ${_N1}\nb: '${_N1}'\nc: ${UNSET:-true}\nd: ${EMPTY}\n$SET: key\n")
    document = read_document(path, ENVIRONMENT)
    assert document.data == {"a": 7, "b": "7", "c": True, "d": None, "$SET": "key"}
    assert document.unset == []


def test_free_keys_are_left_out_and_their_anchors_serve(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x-one: &one {a: 1, x-two: 2}\nb:\n  <<: *one\n  x-three: ${NOT A REFERENCE}\n")
    assert read_document(path, ENVIRONMENT).data == {"b": {"a": 1}}


def test_a_plan_with_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUESTS", "3")
    monkeypatch.delenv("NOT_SET", raising=False)
    path = tmp_path / "plan.yaml"
    path.write_text(
        "x-note: free\n"
        "segments:\n  - {name: LIB, at: 0x20000000, image: {files: ['${NOT_SET}/etc/hostname'], x-why: free}}\n"
        "guests:\n  - name: G\n    count: ${GUESTS}\n    storage: ${STORAGE:-32M}\n"
    )
    plan = load_plan(path)
    assert [guest.name for guest in plan.guests] == ["G01", "G02", "G03"]
    assert plan.guests[0].storage_bytes == 32 << 20
    assert plan.warnings == (
        f"{path}:3: segments[0].image.files[0]: the environment variable NOT_SET is not set and has no default:"
        " nothing stands in its place (write ${NOT_SET:-default} to give one)",
    )


def test_a_wrong_reference_is_one_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("segments:\n  - {name: LIB, at: 0x20000000}\nguests:\n  - name: G\n    count: ${N\n")
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    (finding,) = caught.value.findings
    assert finding.startswith(f"{path}:5: guests[0].count: found '${{N', wanted ${{NAME}}, ")

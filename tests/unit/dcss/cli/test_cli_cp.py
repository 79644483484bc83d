"""`dcss cp`: one command, a pipe of commands, JSON, and what the console makes of its words."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cp_support import BlockingCp, objects_of, private_directories, unique_system

from dcss.cli import console
from dcss.cli.main import main
from dcss.cp.console.messages import UNKNOWN_COMMAND

Run = Callable[..., tuple[int, str, str]]
DEFINED = "HCPNSD440I Saved segment LIB was successfully defined in fileid 0001.\n"
MAP = (
    "FILE FILENAME FILETYPE MINSIZE BEGPAG ENDPAG TYPE CL #USERS PARMREGS VMGROUP\n"
    "0001 LIB      DCSS     N/A     20000  2000F  SR   S   00000 N/A      N/A\n"
)


@pytest.fixture(autouse=True)
def directories() -> Iterator[Path]:
    with private_directories() as path:
        yield path


@pytest.fixture
def system() -> Iterator[str]:
    name = unique_system("cp")
    yield name
    assert objects_of(name) == []


@pytest.fixture
def dcss(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0), *capfd.readouterr()

    return run


def test_commands_with_and_without_quotes(dcss: Run, system: str) -> None:
    assert dcss("cp", "--system", system, "DEFSEG LIB 20000-2000F SR") == (0, DEFINED, "")
    assert dcss("cp", "q", "nss", "map", "--system", system) == (0, MAP, "")


def test_a_refused_command_is_exit_1_with_cps_message_on_stdout(dcss: Run, system: str) -> None:
    assert dcss("cp", "--system", system, "SAVESEG LIB") == (
        1,
        "HCPDCS9002E Saved segment LIB is not defined, or is saved already; DEFSEG it first\n",
        "",
    )


def test_json_is_the_same_as_data(dcss: Run, system: str) -> None:
    dcss("cp", "--system", system, "DEFSEG LIB 20000-2000F SR RSTD")
    status, out, _ = dcss("cp", "--system", system, "Q NSS MAP", "--json")
    document = json.loads(out)
    (file,) = document.pop("files")
    assert file.pop("created").endswith("+00:00")
    assert (status, document) == (
        0,
        {"system": system, "command": "Q NSS MAP", "return_code": 0, "lines": MAP.splitlines()},
    )
    assert file == {
        "file": 1,
        "name": "LIB",
        "filetype": "DCSS",
        "class": "S",
        "ranges": [{"first_page": 0x20000, "last_page": 0x2000F, "type": "SR"}],
        "attributes": ["RSTD"],
        "users": [],
        "originid": "OPERATOR",
        "saved": False,
        "sha256": None,
        "shm": None,
    }
    status, out, _ = dcss("cp", "--system", system, "XYZZY", "--json")
    assert (status, json.loads(out)["lines"]) == (1, [UNKNOWN_COMMAND.line(command="XYZZY")])
    assert json.loads(out)["return_code"] == 1
    assert json.loads(out)["files"] is None


def test_the_default_systems_spool_is_used_where_none_is_named(dcss: Run, directories: Path) -> None:
    assert dcss("cp", "DEFSEG LIB 20000-2000F SR") == (0, DEFINED, "")
    assert (directories / "xdg_state_home/dcss/default/0001.manifest").exists()


def test_lines_of_a_pipe_are_executed_up_to_quit(dcss: Run, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("defseg lib 20000-2000f sr\n\nq nss map\nlogo\nnonsense\n"))
    assert dcss("cp", "--system", system) == (0, DEFINED + MAP, "")
    monkeypatch.setattr("sys.stdin", io.StringIO("nonsense\nq nss map\n"))
    assert dcss("cp", "--system", system) == (1, UNKNOWN_COMMAND.line(command="NONSENSE") + "\n" + MAP, "")


def test_help_and_comments_are_answered_wherever_a_line_comes_from(
    dcss: Run, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = "".join(f"{line}\n" for line in console.help_lines())
    assert dcss("cp", "--system", system, "help") == (0, wanted, "")
    assert json.loads(dcss("cp", "--system", system, "?", "--json")[1])["lines"] == wanted.splitlines()
    assert dcss("cp", "--system", system, "* the libraries") == (0, "", "")
    monkeypatch.setattr("sys.stdin", io.StringIO("* the libraries\ndefseg lib 20000-2000f sr\nhelp\n"))
    assert dcss("cp", "--system", system) == (0, DEFINED + wanted, "")


def test_help_explains_one_command(dcss: Run, system: str) -> None:
    status, out, _ = dcss("cp", "--system", system, "help", "defseg")
    assert (status, out.splitlines()[0]) == (0, "DEFSEG name page-page type [...] [LOADNSHR | RSTD] [SECURE]")
    assert "SAVESEG name" not in out
    assert dcss("cp", "--system", system, "#CP HELP q")[1].startswith("QUERY NSS [ALL")
    assert dcss("cp", "--system", system, "help nonsense")[:2] == (1, "HCPCMD001E Unknown CP command: NONSENSE\n")
    assert dcss("cp", "--system", system, "help defseg saveseg")[0] == 1


def test_json_without_a_command_is_a_usage_error(dcss: Run, system: str) -> None:
    status, out, err = dcss("cp", "--system", system, "--json")
    assert (status, out) == (2, "")
    assert err.startswith("dcss cp: --json needs a COMMAND")


@pytest.mark.parametrize("name", ["a b", "../x", "", "-x"])
def test_a_name_that_no_system_can_have(dcss: Run, name: str) -> None:
    status, out, err = dcss("cp", f"--system={name}", "Q NSS")
    assert (status, out) == (2, "")
    assert err.startswith(f"--system: system name {name!r}: wanted 1 to 64 letters")


def test_a_cp_that_does_not_listen_is_waited_for_and_then_an_error(
    dcss: Run, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcss.cli.operator.BUSY_SECONDS", 0.1)
    with BlockingCp(system):
        status, out, err = dcss("cp", "--system", system, "Q NSS")
    assert (status, out) == (3, "")
    assert f"system {system}: its CP already runs" in err


def test_a_damaged_file_is_reported_once_and_never_served(dcss: Run, system: str, directories: Path) -> None:
    dcss("cp", "--system", system, "DEFSEG LIB 20000-2000F SR")
    (directories / "xdg_state_home/dcss" / system / "0001.manifest").write_text("{}")
    status, out, err = dcss("cp", "--system", system, "Q NSS")
    assert (status, out) == (0, "NO NSS FILES\n")
    assert err.startswith("warning: spool file 0001 is damaged: found no manifest of format 1; set aside as ")
    assert dcss("cp", "--system", system, "Q NSS") == (0, "NO NSS FILES\n", "")


def test_help_names_every_command_and_completion_knows_its_words() -> None:
    lines = list(console.help_lines())
    assert lines[0].startswith("DEFSEG name")
    assert "    QUERY may be as short as Q" in lines
    assert {"DEFSEG", "SAVESEG", "PURGE", "QUERY", "NSS", "USERS", "HELP"} <= set(
        console._WORD.findall(" ".join(lines))
    )


@pytest.mark.parametrize(
    ("typed", "ends"), [("quit", True), ("LOGOFF now", True), ("log", True), ("lo", False), ("q", False), ("", False)]
)
def test_what_ends_the_console(typed: str, ends: bool) -> None:
    assert console._is_one_of(typed, console._ENDS) is ends

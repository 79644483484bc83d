"""`dcss init`, `dcss schema` and `dcss doctor`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dcss.cli.init import description, ready_systems
from dcss.cli.main import main
from dcss.cli.options import own_command
from dcss.config.load import load_plan
from dcss.config.sources import DirectorySource
from dcss.doctor.host import Diagnosis
from dcss.report.doctor_view import doctor_page
from dcss.report.layout import render_page
from dcss.report.style import Style

CONFIGS = Path(__file__).parents[4] / "configs"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_the_demo_which_loads(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("init") == 0
    assert capfd.readouterr().out == "demo.yaml written; start it with: dcss run demo.yaml\n"
    assert (here / "demo.yaml").read_bytes() == (CONFIGS / "demo.yaml").read_bytes()
    assert load_plan(here / "demo.yaml").name == "demo"


def test_init_never_overwrites(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "demo.yaml").write_text("mine")
    assert run("init", "demo") == 2
    assert capfd.readouterr().err.startswith("demo.yaml: found a file, wanted none")
    assert (here / "demo.yaml").read_text() == "mine"
    (here / "link.yaml").symlink_to(here / "nowhere")
    assert run("init", "-o", "link.yaml") == 2
    assert not (here / "nowhere").exists()


def test_init_elsewhere(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("init", "hundred", "-o", "many.yaml", "--json") == 0
    assert json.loads(capfd.readouterr().out) == {"name": "hundred", "path": "many.yaml"}
    assert len(load_plan(here / "many.yaml").guests) == 100
    assert run("init", "-o", "no/such/x.yaml") == 2
    assert "no/such/x.yaml: found No such file or directory" in capfd.readouterr().err


def test_the_next_step_can_be_called(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for directory in (here / "bin", here / "my venv"):
        directory.mkdir()
        (directory / "dcss").write_text("#!/bin/sh\n")
        (directory / "dcss").chmod(0o755)
    monkeypatch.setenv("PATH", str(here / "bin"))
    for called, shown in (
        ("bin/dcss", "dcss"),
        (f"{here}/bin/dcss", "dcss"),
        ("my venv/dcss", "'my venv/dcss'"),
        ("somewhere/dcss", "dcss"),
        (f"{here}/dcss/__main__.py", "dcss"),
    ):
        monkeypatch.setattr("sys.argv", [called, "init"])
        assert own_command() == shown
    monkeypatch.setattr("sys.argv", ["my venv/dcss"])
    assert run("init") == 0
    assert capfd.readouterr().out == "demo.yaml written; start it with: 'my venv/dcss' run demo.yaml\n"


def test_init_under_a_new_name(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("init", "demo", "--as", "mine") == 0
    assert capfd.readouterr().out == "mine.yaml written; start it with: dcss run mine.yaml\n"
    demo = (CONFIGS / "demo.yaml").read_text()
    assert (here / "mine.yaml").read_text() == demo.replace("\nsystem: demo\n", "\nsystem: mine\n")
    assert load_plan(here / "mine.yaml").name == "mine"
    assert run("init", "--as", "../up") == 2
    assert capfd.readouterr().err.startswith("--as: system name '../up'")
    assert run("init", "DEMO") == 2
    assert "(did you mean demo?)" in capfd.readouterr().err


def test_init_finds_what_is_installed_beside_an_example(here: Path) -> None:
    assert run("init", "demo-s390x", "-o", "z.yaml") == 0
    (segment,) = load_plan(here / "z.yaml").segments
    assert isinstance(segment.image, DirectorySource)
    assert (segment.image.path / "bin/hello").is_file()


def test_init_of_an_unknown_system_lists_the_known(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("init", "demmo") == 2
    assert capfd.readouterr().err.startswith(
        "dcss init: found 'demmo', wanted one of administrator, debian-s390x, demo,"
    )


def test_init_lists_every_ready_system_with_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("init", "--list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    assert run("init", "--list", "--json") == 0
    for system in json.loads(capfd.readouterr().out)["systems"]:
        assert system["description"].endswith(".")
        assert len(system["description"]) < 150


def test_ready_systems_come_with_the_package() -> None:
    assert set(ready_systems()) == {path.stem for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("# One. Two.\n", "One."), ("# One\n# two.\n# three\nsystem: x\n", "One two."), ("system: x\n", "")],
)
def test_a_description_is_the_first_sentence(here: Path, text: str, sentence: str) -> None:
    (here / "x.yaml").write_text(text)
    assert description(here / "x.yaml") == sentence


def test_init_lists_in_the_width_of_the_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("init", "--list") == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) > len(ready_systems())
    assert max(map(len, lines)) <= 80


def test_schema_is_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    first = capfd.readouterr().out
    assert run("schema", "--json") == 0
    assert capfd.readouterr().out == first
    assert json.loads(first)["title"] == "SystemModel"


def test_doctor_as_text_and_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    text = capfd.readouterr().out
    assert run("doctor", "--json") == 0
    findings = json.loads(capfd.readouterr().out)["findings"]
    for finding in findings:
        assert finding["name"] in text
        assert finding["mend"] is None or finding["mend"] in text


def test_a_diagnosis_shows_what_it_limits_and_never_wraps_its_command() -> None:
    mend = "sudo something very long " + "x" * 60
    diagnosis = Diagnosis("Yama", "limit", "ptrace_scope is 2", "verify and measure", mend)
    assert render_page(doctor_page([diagnosis]), Style(width=50)).splitlines() == [
        "? Yama          ptrace_scope is 2",
        "  limits        verify and measure",
        f"  mend          {mend}",
    ]
    assert render_page(doctor_page([Diagnosis("KSM", "ok", "off")]), Style()) == "✓ KSM           off"


def test_python_m_dcss_is_dcss() -> None:
    done = subprocess.run([sys.executable, "-m", "dcss", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dcss ")

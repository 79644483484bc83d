"""`dcss docs`, the manual page, and `dcss segment spools`."""

import importlib
import inspect
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cp_support import private_directories
from needs_support import needs

from dcss.cli import options
from dcss.cli.docs import _laid_out, installed_pages
from dcss.cli.main import COMMANDS, cli, main
from dcss.cli.manual import manual_page

DOCS = Path(__file__).parents[4] / "docs"


@pytest.fixture(autouse=True)
def directories() -> Iterator[Path]:
    with private_directories() as path:
        yield path


def run(*arguments: str) -> int:
    options._printed.clear()  # each is a process of its own elsewhere
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_every_page_is_installed_and_listed_with_its_title(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(installed_pages()) == sorted(path.stem for path in DOCS.glob("*.md"))
    assert run("docs") == 0
    listed = capfd.readouterr().out
    assert re.search("^commands +Commands$", listed, re.MULTILINE)
    assert run("docs", "--json") == 0
    pages = json.loads(capfd.readouterr().out)["pages"]
    assert {"name": "cp", "title": "CP: commands, segments, spool"} in pages


@pytest.mark.parametrize("name", ["commands", "commands.md", "docs/commands.md"])
def test_a_page_is_shown_as_it_is(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("docs", name) == 0
    assert capfd.readouterr().out == (DOCS / "commands.md").read_text("utf-8")


@pytest.mark.parametrize(("page", "columns"), [("updating", 80), ("troubleshooting", 60)])
def test_a_terminal_gets_a_page_that_fits(page: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    shown = _laid_out(installed_pages()[page].read_text("utf-8"))
    assert [line for line in shown.splitlines() if len(line) > columns] == []
    assert "\x1b" not in shown
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1" in _laid_out("# Title")


def test_a_page_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("docs", "../README") == 2
    assert run("docs", "comands") == 2
    assert capfd.readouterr().err.endswith("(did you mean commands?)\n")
    assert run("docs", "cp", "--man") == 2


def test_the_manual_page_has_every_command_and_option() -> None:
    page = manual_page()
    for name in COMMANDS:
        assert f"\n.SS dcss {name}".replace("-", r"\-") in page
    assert "\n.SS dcss segment spools" in page
    assert r"\-\-evidence FILE" in page
    assert "\b" not in page


@needs("groff")
def test_troff_takes_the_manual_page_without_a_warning() -> None:
    groff = shutil.which("groff")
    assert groff is not None
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww"], input=manual_page().encode(), capture_output=True, check=True
    )
    assert done.stderr == b""
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout.decode())  # bold, as a sequence or by striking twice
    assert "dcss verify [SYSTEM]" in shown


def test_spools_are_listed_whether_a_system_runs_or_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("segment", "spools") == 0
    assert capfd.readouterr().out == "no system has saved segments\n"
    for system in ("one", "two"):
        assert run("segment", "define", "LIB", "20000-2000F SR", "--system", system) == 0
    assert run("segment", "save", "LIB", "--system", "two") == 0
    capfd.readouterr()
    assert run("segment", "spools", "--json") == 0
    one, two = json.loads(capfd.readouterr().out)["spools"]
    assert (one["system"], one["files"], two["system"], two["files"]) == ("one", 1, "two", 1)
    assert Path(two["directory"]).is_dir()
    assert run("segment", "spools") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["SYSTEM", "FILES", "ON", "DISK", "DIRECTORY"]
    assert [line.split()[0] for line in lines[1:]] == ["one", "two"]


def every_command() -> Iterator[tuple[list[str], click.Command]]:
    yield [], cli
    for name, entry in COMMANDS.items():
        command = importlib.import_module(entry.module).command
        yield [name], command
        if isinstance(command, click.Group):
            yield from (([name, below], part) for below, part in command.commands.items())


@pytest.mark.parametrize(("words", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in every_command()])
def test_help_fits_the_smallest_terminal(
    words: list[str], command: click.Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*words, "--help") == 0
    usage, *paragraphs = capfd.readouterr().out.split("\n\n")  # arguments are named in the usage: "FILE..."
    lines = [*usage.removesuffix("...").splitlines(), *"\n\n".join(paragraphs).splitlines()]
    assert [line for line in lines if len(line) > 80 or line.endswith("...")] == []
    assert [line for line in _as_they_are(command) if len(line) > 73] == []  # man(1) indents by 7


def _as_they_are(command: click.Command) -> Iterator[str]:
    """Yield the lines of a command's help that click does not wrap."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield from paragraph.splitlines()[1:]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["rnu"], "dcss: No such command 'rnu'. Did you mean 'run'? (see dcss --help)\n"),
        (["guest", "stpo", "G"], "dcss guest: No such command 'stpo'. Did you mean 'stop'? (see dcss guest --help)\n"),
        (["image", "bild"], "dcss image: No such command 'bild'. Did you mean 'build'? (see dcss image --help)\n"),
        (["segment", "xyz"], "dcss segment: No such command 'xyz'. (see dcss segment --help)\n"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(words: list[str], wanted: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert capfd.readouterr() == ("", wanted)

"""docs/commands.md describes every command and option of the command line."""

import importlib
from pathlib import Path

import click
import pytest

from dcss.cli.main import COMMANDS

PAGE = (Path(__file__).parents[4] / "docs/commands.md").read_text()


def commands() -> dict[str, click.Command]:
    return {name: importlib.import_module(entry.module).command for name, entry in COMMANDS.items()}


def section(name: str) -> str:
    for part in PAGE.split("\n## ")[1:]:
        if part.split("\n")[0].split(" ")[:2] == ["dcss", name]:
            return part
    pytest.fail(f"docs/commands.md has no section for dcss {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_with_its_options(name: str) -> None:
    text = section(name)
    command = commands()[name]
    parts = command.commands.values() if isinstance(command, click.Group) else [command]
    for part in parts:
        if isinstance(command, click.Group):
            assert f"`{name} {part.name} " in text
        for parameter in part.params:
            if isinstance(parameter, click.Option) and parameter.name != "as_json":
                assert any(option in text for option in parameter.opts), f"{part.name}: {parameter.opts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_speaks_json(name: str) -> None:
    command = commands()[name]
    parts = command.commands.values() if isinstance(command, click.Group) else [command]
    for part in parts:
        assert any(parameter.name == "as_json" for parameter in part.params), part.name


def test_no_section_is_about_a_command_that_is_not_there() -> None:
    titles = [part.split("\n")[0].split(" ")[1] for part in PAGE.split("\n## ")[1:] if part.startswith("dcss ")]
    assert sorted(titles) == sorted(COMMANDS)

"""All commands of the command line, and words that call each: what is asked for need not be there."""

from collections.abc import Iterator

import click

from dcss.cli.main import cli


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, by its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, f"{path} {name}".strip())


COMMANDS = dict(leaves(cli))


def options_of(name: str) -> dict[str, click.Option]:
    """Return the options of a command, by their long names, or by the short one where there is no other."""
    found = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    return {max(option.opts, key=len): option for option in found}


def words_of(name: str) -> list[str]:
    """Return words that call a command with all that it requires."""
    words = name.split()
    for parameter in COMMANDS[name].params:
        if parameter.required:
            value = "4194303" if isinstance(parameter.type, click.IntRange) else "/no/such"
            words += [parameter.opts[-1], value] if isinstance(parameter, click.Option) else [value]
    return words

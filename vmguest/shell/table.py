"""All commands of the shell by name."""

from vmguest.shell.commands import contents, digests, listing, mounts, system, tree, words
from vmguest.shell.context import Command

COMMANDS: dict[bytes, Command] = {
    name: command
    for module in (contents, digests, listing, mounts, system, tree, words)
    for name, command in module.COMMANDS.items()
}

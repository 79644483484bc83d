"""All commands of the shell by name."""

from vmguest.shell.commands import attributes, contents, digests, listing, mkfs, mounts, system, tree, words
from vmguest.shell.context import Builtin

COMMANDS: dict[bytes, Builtin] = {
    name: command
    for module in (attributes, contents, digests, listing, mkfs, mounts, system, tree, words)
    for name, command in module.COMMANDS.items()
}

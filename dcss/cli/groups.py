"""Groups of commands: each is listed with its whole sentence, and a mistyped one gets a suggestion."""

from collections.abc import Iterable

import click

from dcss.suggest import nearest

_SENTENCE = 200  # longer than any: what is listed is wrapped, not cut


class CommandGroup(click.Group):
    """A command with commands of its own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return a command's name, the command and its arguments. Raises UsageError where there is no such command."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = nearest(name, self.list_commands(ctx))
            ctx.fail(f"No such command '{name}'." + (f" Did you mean '{near}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with the first sentence of its help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._sentences(ctx)))

    def _sentences(self, ctx: click.Context) -> Iterable[tuple[str, str]]:
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            if found is not None and not found.hidden:
                yield name, found.get_short_help_str(_SENTENCE)

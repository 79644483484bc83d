"""`dcss completion SHELL`: print the script with which a shell completes commands, options, systems and guests."""

import click

from dcss.cli.options import json_option, print_json

COMPLETE_VARIABLE = "_DCSS_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print a script that completes commands, options, systems and guests.

    \b
    eval "$(dcss completion bash)"                  in ~/.bashrc
    eval "$(dcss completion zsh)"                   in ~/.zshrc
    dcss completion fish > ~/.config/fish/completions/dcss.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click completes in each shell that the argument admits"
    script = found(click.Command("dcss"), {}, "dcss", COMPLETE_VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)

"""`dcss schema [NAME]`: print the JSON Schema of the YAML, with which editors check it, or of a command's document."""

import click

from dcss.cli.options import json_option, print_json
from dcss.errors import ConfigError


@click.command("schema")
@click.argument("name", nargs=-1)
@click.option("--list", "list_only", is_flag=True, help="List the names.")
@json_option
def command(name: tuple[str, ...], list_only: bool, as_json: bool) -> None:
    """Print the JSON Schema of the YAML, for editors, or of a command's document, which it prints with --json.

    \b
    dcss schema > dcss.schema.json      the YAML, for editors
    dcss schema verify                  what dcss verify --json prints
    dcss schema image ls
    dcss schema FLEET.yaml
    dcss schema SWEEP.yaml
    dcss schema --list

    To make an editor with a YAML language server use it, write this first line in the YAML file:
    "# yaml-language-server: $schema=dcss.schema.json".
    """
    if list_only:
        _list(name, as_json=as_json)
    elif name:
        from dcss.schemas.registry import document_schema

        print_json(document_schema(" ".join(name)))
    else:
        from dcss.config.schema import json_schema

        print_json(json_schema())


def _list(name: tuple[str, ...], *, as_json: bool) -> None:
    from dcss.schemas.registry import DOCUMENTS, OTHERS

    if name:
        raise ConfigError(f"dcss schema: found both --list and {' '.join(name)}, wanted one of them")
    if as_json:
        print_json({"documents": [*DOCUMENTS, *OTHERS]})
    else:
        click.echo("\n".join([*DOCUMENTS, *OTHERS]))

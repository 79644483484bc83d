"""`dcss schema`: print the JSON Schema of the YAML, with which editors complete and check it."""

import click

from dcss.cli.options import json_option, print_json


@click.command("schema")
@json_option
def command(as_json: bool) -> None:
    """Print the JSON Schema of the YAML, for editors.

    \b
    dcss schema > dcss.schema.json

    To make an editor with a YAML language server use it, write this first line in the YAML file:
    "# yaml-language-server: $schema=dcss.schema.json".
    """
    del as_json  # the schema is JSON either way
    from dcss.config.schema import json_schema

    print_json(json_schema())

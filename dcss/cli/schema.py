"""`dcss schema`: what an editor needs to complete and check the YAML."""

import click

from dcss.cli.options import json_option, print_json


@click.command("schema")
@json_option
def command(as_json: bool) -> None:
    """Print the JSON Schema of the YAML, for editors.

    \b
    dcss schema > dcss.schema.json

    Editors with a YAML language server take it from a first line such as
    "# yaml-language-server: $schema=dcss.schema.json" in the YAML.
    """
    del as_json  # the schema is JSON either way
    from dcss.config.schema import json_schema

    print_json(json_schema())

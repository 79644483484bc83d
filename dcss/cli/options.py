"""What commands have in common: exit statuses, options, output."""

from typing import Any

import click

EXIT_REFUTED = 1
EXIT_USAGE = 2
EXIT_FAILED = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    from dcss.documents import to_json

    click.echo(to_json(document))

"""What commands have in common: exit statuses, options, output."""

import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from dcss.report.blocks import Page

EXIT_REFUTED = 1
EXIT_USAGE = 2
EXIT_FAILED = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    from dcss.documents import to_json

    click.echo(to_json(document))


def print_page(page: "Page", stream: TextIO | None = None) -> None:
    """Write a page as text to stdout or to `stream`, in the style that it can show."""
    from dcss.report.layout import render_page
    from dcss.report.style import style_for

    stream = stream or sys.stdout
    text = render_page(page, style_for(stream))
    if text:
        click.echo(text, file=stream)

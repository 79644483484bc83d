"""`dcss docs [PAGE]`: show the documentation that is installed with the package, or the manual page."""

import os
import shutil
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import StringIO

import click

from dcss.cli.options import json_option, print_json, print_names
from dcss.errors import ConfigError
from dcss.suggest import suggestion

_SUFFIX = ".md"
_WIDEST = 100  # longer lines are hard to read


@click.command("docs")
@click.argument("page", required=False)
@click.option("--man", "as_manual", is_flag=True, help="Print the manual page dcss(1) of all commands, in troff.")
@json_option
def command(page: str | None, as_manual: bool, as_json: bool) -> None:
    """Show a page of the documentation, or list the pages.

    \b
    dcss docs               list the pages
    dcss docs commands      show one, in a pager on a terminal
    dcss docs --man > ~/.local/share/man/man1/dcss.1
    """
    if as_manual and page is not None:
        raise click.UsageError("found both PAGE and --man, wanted one of them.")
    if as_manual:
        from dcss.cli.manual import manual_page

        _show("dcss.1", manual_page(), as_json=as_json)
        return
    pages = installed_pages()
    if page is None:
        _list(pages, as_json=as_json)
        return
    name = page.removeprefix("docs/").removesuffix(_SUFFIX)
    if name not in pages:
        raise ConfigError(f"dcss docs: found '{page}', wanted one of {', '.join(pages)}{suggestion(page, pages)}")
    _show(name, pages[name].read_text("utf-8"), as_json=as_json, in_pager=sys.stdout.isatty())


def installed_pages() -> dict[str, Traversable]:
    """Return the pages that are installed with the package, by name."""
    found = (files("dcss") / "docs").iterdir()
    return {
        entry.name.removesuffix(_SUFFIX): entry
        for entry in sorted(found, key=lambda entry: entry.name)
        if entry.name.endswith(_SUFFIX)
    }


def _title(page: Traversable) -> str:
    return page.read_text("utf-8").partition("\n")[0].lstrip("# ")


def _list(pages: dict[str, Traversable], *, as_json: bool) -> None:
    if as_json:
        print_json({"pages": [{"name": name, "title": _title(page)} for name, page in pages.items()]})
        return
    print_names((name, _title(page)) for name, page in pages.items())


def _laid_out(text: str) -> str:
    """Return a page for a terminal: lines of Markdown are longer than one, and its tables wider."""
    # rich takes a tenth of a second to import: only a terminal pays for it.
    from rich.console import Console
    from rich.markdown import Markdown

    out = StringIO()
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    colored = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    console = Console(file=out, width=width, force_terminal=colored, color_system="standard" if colored else None)
    console.print(Markdown(text, hyperlinks=False))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _show(name: str, text: str, *, as_json: bool, in_pager: bool = False) -> None:
    if as_json:
        print_json({"name": name, "text": text})
    elif in_pager:
        click.echo_via_pager(_laid_out(text))
    else:
        click.echo(text, nl=False)

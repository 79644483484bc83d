"""`dcss init [NAME]`: write an example system to start from."""

import os
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from dcss.cli.options import json_option, own_command, print_json, print_names
from dcss.errors import ConfigError
from dcss.suggest import suggestion

_SUFFIX = ".yaml"


@click.command("init")
@click.argument("name", default="demo")
@click.option("--list", "list_only", is_flag=True, help="List the examples and write nothing.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Write to FILE instead of NAME.yaml.",
)
@click.option("--as", "new_name", metavar="SYSTEM", help="Name the system SYSTEM, and the file SYSTEM.yaml.")
@json_option
def command(name: str, list_only: bool, output: Path | None, new_name: str | None, as_json: bool) -> None:
    """Write an example system to the current directory.

    An existing file is never overwritten.

    \b
    dcss init               write demo.yaml
    dcss init --list        list the examples
    dcss init hundred -o many.yaml
    dcss init demo --as mine
    """
    systems = ready_systems()
    if list_only:
        _list(systems, as_json=as_json)
        return
    if name not in systems:
        raise ConfigError(f"dcss init: found '{name}', wanted one of {', '.join(systems)}{suggestion(name, systems)}")
    path = output if output is not None else Path((new_name or name) + _SUFFIX)
    content = placed(systems[name].read_bytes())
    write_new(path, content if new_name is None else renamed(content, new_name))
    if as_json:
        print_json({"name": name, "path": str(path)})
    else:
        click.echo(f"{path} written; start it with: {own_command()} run {path}")


def ready_systems() -> dict[str, Traversable]:
    """Return the example systems that are installed with the package, by name."""
    found = (files("dcss") / "configs").iterdir()
    return {
        entry.name.removesuffix(_SUFFIX): entry
        for entry in sorted(found, key=lambda entry: entry.name.removesuffix(_SUFFIX))
        if entry.name.endswith(_SUFFIX)
    }


def renamed(content: bytes, system: str) -> bytes:
    """Return an example system under another name. Raises ConfigError for one that no system can have."""
    from dcss.host.paths import check_system_name

    try:
        check_system_name(system)
    except ValueError as error:
        raise ConfigError(f"--as: {error}") from error
    return re.sub(rb"^system: .*$", f"system: {system}".encode(), content, count=1, flags=re.MULTILINE)


def placed(content: bytes) -> bytes:
    """Return an example system whose files, which are installed beside it, are found from any directory."""
    return content.replace(b"directory: s390x-programs/", b"directory: %s/s390x-programs/" % _directory())


def _directory() -> bytes:
    return os.fsencode(str(files("dcss") / "configs"))


def description(system: Traversable) -> str:
    """Return the first sentence of the comment at the top of an example system."""
    words: list[str] = []
    for line in system.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        words += line.lstrip("# ").split()
        if words[-1:] and words[-1].endswith((".", ":")):
            break
    first, stop, _ = " ".join(words).partition(". ")
    return first + stop.rstrip()


def write_new(path: Path, content: bytes) -> None:
    """Write a new file. Raises ConfigError where it exists or cannot be written."""
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except FileExistsError as error:
        raise ConfigError(
            f"{path}: found a file, wanted none: nothing is overwritten (name another with -o)"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: found {error.strerror}, wanted a file that can be written") from error


def _list(systems: dict[str, Traversable], *, as_json: bool) -> None:
    if as_json:
        print_json({"systems": [{"name": name, "description": description(entry)} for name, entry in systems.items()]})
        return
    print_names((name, description(entry)) for name, entry in systems.items())

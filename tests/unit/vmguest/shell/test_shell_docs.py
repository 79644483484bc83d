"""docs/shell.md against the shell: every command with its usage, every file of /proc, every letter of stat's format."""

import re
from pathlib import Path

from vmguest.fs.procfs import NAMES
from vmguest.shell.commands.listing import FORMAT_LETTERS
from vmguest.shell.table import COMMANDS

TEXT = (Path(__file__).parents[4] / "docs/shell.md").read_text()


def test_every_command_stands_in_the_table_with_its_usage() -> None:
    rows = re.findall(r"^\| `([^`]*)` \|", TEXT.split("## Commands")[1].split("## Files")[0], re.MULTILINE)
    assert [row.replace("\\|", "|") for row in rows] == [COMMANDS[name].usage for name in sorted(COMMANDS)]


def test_every_file_of_proc_is_named() -> None:
    (sentence,) = re.findall(r"`/proc` has ([^.]*),", TEXT)
    assert re.findall(r"`(\w+)`", sentence) == [name.decode() for name in sorted(NAMES)]


def test_every_letter_of_stat() -> None:
    (letters,) = re.findall(r"letters of the format: `([^`]*)`", TEXT)
    assert letters.split() == list(FORMAT_LETTERS)

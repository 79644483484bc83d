"""The first hour: what README.md and `make demo` tell a reader to type works, in that order."""

import re
import shlex
import subprocess
from pathlib import Path

from cli_support import SOURCE, Dcss
from needs_support import needs

README = (Path(SOURCE) / "README.md").read_text("utf-8")


def steps() -> list[list[str]]:
    """Return the words after `dcss` of each line of the README's first screen."""
    first_screen = README.split("\n## ")[0]
    lines = re.findall(r"^\.venv/bin/dcss (.*)$", first_screen, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_first_steps_of_the_readme_work(dcss: Dcss) -> None:
    assert [words[0] for words in steps()] == ["init", "config", "up", "exec", "verify", "down"]
    for words in steps():
        named = [word.replace("mine", dcss.system) for word in words]
        if named[0] == "up":  # 100 MiB would prove no more here, and take longer
            path = dcss.home / f"{dcss.system}.yaml"
            path.write_text(path.read_text().replace("up_to: 100M", "up_to: 17M"))
        dcss(*named)
    dcss.assert_nothing_left()


@needs("make")
def test_make_demo_ends_with_the_next_step() -> None:
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", "demo"], cwd=SOURCE, capture_output=True, text=True, check=True
    )
    assert ".venv/bin/dcss init demo --as mine && .venv/bin/dcss up mine.yaml -d" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("  ") and len(line) > 80] == []


def test_the_first_screen_says_for_whom_and_what_does_not_run() -> None:
    first_screen = README.split("\n## ")[0]
    assert "It is for those who" in first_screen
    assert "**What runs in a guest today:**" in first_screen
    assert "**what does not:**" in first_screen


def test_updating_names_its_system_in_every_command_that_needs_it() -> None:
    page = (Path(SOURCE) / "docs/updating.md").read_text("utf-8")
    commands = re.findall(r"dcss (?:segment|guest) [a-z]+ [^`\n]*", page)
    assert len(commands) >= 6
    assert [command for command in commands if not command.endswith("--system updating")] == []

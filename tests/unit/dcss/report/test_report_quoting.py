import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcss.report.quoting import escaped, quoted_name

CHARACTERS = "ab'\"$`\\!{}#~= *?[]^|;&()<>\n\t\x1b\x7f%+,-.:@_\u00e9\udcff"
NAMES = st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=6).filter(
    # Where a name has both, ls writes one '' more than it takes.
    lambda name: name not in (".", "..") and (name.isprintable() or "'" not in name)
)


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(names=st.sets(NAMES, min_size=1, max_size=40))
def test_names_are_quoted_as_ls_quotes_them(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    directory = tmp_path_factory.mktemp("names")
    for name in names:
        (directory / name).touch()
    command = ["ls", "-A", "-1", "--quoting-style=shell-escape", str(directory)]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert sorted(os.fsdecode(done.stdout).splitlines()) == sorted(map(quoted_name, names))


@given(name=st.text(st.characters(blacklist_characters="\0/", codec="utf-8"), min_size=1, max_size=12))
def test_what_is_quoted_has_nothing_that_a_terminal_obeys(name: str) -> None:
    assert quoted_name(name).isprintable()
    assert escaped(name).isprintable()


@pytest.mark.parametrize("name", ["a'\n", "'\x1b", "\x1b''b", "\u202e'x", "\n"])
def test_a_shell_reads_the_name_back(tmp_path: Path, name: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {quoted_name(name)}"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == name


def test_what_is_invisible_is_quoted() -> None:
    assert quoted_name("a\u202eb") == r"'a'$'\342\200\256''b'"
    assert quoted_name("") == "''"
    assert quoted_name("caf\u00e9-1.so") == "caf\u00e9-1.so"


def test_text_is_escaped_and_keeps_what_is_asked_for() -> None:
    assert escaped("a\x1b]0;t\x07\tb\n", keep="\n\t") == "a\\033]0;t\\a\tb\n"
    assert escaped("\udcff\u2066") == r"\377\342\201\246"

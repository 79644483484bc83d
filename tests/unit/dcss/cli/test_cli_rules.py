"""One rule everywhere: options of one name are of one kind, exclude the same ones, and help says the same of them."""

import re
from pathlib import Path

import click
import pytest
from commands_support import COMMANDS, options_of, words_of

from dcss.cli.main import cli
from dcss.errors import DcssError

# Of options that no command takes together, the first has a form of stdout that is not the other's, or looks only once.
EXCLUSIVE = [("--json", "--csv"), ("--watch", "--csv"), ("--watch", "--evidence"), ("--watch", "--folded")]
TOGETHER = [("--evidence", "--csv"), ("--evidence", "--json"), ("--verbose", "--json")]
REPEATED = "may be given several times"


def with_both(pairs: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    return [(name, *pair) for name in COMMANDS for pair in pairs if set(pair) <= set(options_of(name))]


def refused(name: str, one: str, other: str) -> bool:
    """Call a command with two options; say whether that was why it did not run."""
    words = words_of(name)
    for option in (one, other):
        words.append(option)
        found = options_of(name)[option]
        if not found.is_flag and not (found.metavar or "").startswith("["):
            words.append("written")
    try:
        cli.main(words, standalone_mode=False)
    except click.UsageError as error:
        return f"found {one} and {other}, wanted one of them" in error.message
    except DcssError:  # what is asked for is not there
        return False
    return False


@pytest.fixture(autouse=True)
def _nothing_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.mark.parametrize(("name", "one", "other"), with_both(EXCLUSIVE))
def test_forms_exclude_each_other_before_anything_is_done(name: str, one: str, other: str) -> None:
    assert refused(name, one, other)


@pytest.mark.parametrize(("name", "one", "other"), with_both(TOGETHER))
def test_what_goes_together_does_so_everywhere(name: str, one: str, other: str) -> None:
    if name != "doctor":  # does it
        assert not refused(name, one, other)


@pytest.mark.parametrize("option", sorted({option for name in COMMANDS for option in options_of(name)}))
def test_an_option_is_of_one_kind_everywhere(option: str) -> None:
    found = {name: options_of(name)[option] for name in COMMANDS if option in options_of(name)}
    if option not in {"--all", "--csv"}:  # -a is that of ls, and tables are named where there are several
        assert len({tuple(each.opts) for each in found.values()}) == 1, found
        assert len({each.is_flag for each in found.values()}) == 1, found
    for name, each in found.items():
        assert each.help, f"dcss {name} {option} has no help"
        assert each.help.endswith("."), f"dcss {name} {option}: {each.help}"
        takes = each.is_flag or each.metavar is not None or isinstance(each.type, click.Choice)
        assert takes, f"dcss {name} {option} does not say what it takes"
        assert (REPEATED in each.help) is (each.multiple and "[," not in (each.metavar or "")), f"dcss {name} {option}"


@pytest.mark.parametrize("option", ["--json", "--watch", "--system", "--csv"])
def test_csv_json_and_watch_are_the_options_that_commands_have_in_common(option: str) -> None:
    names = [name for name in COMMANDS if option in options_of(name)]
    helps = {options_of(name)[option].help for name in names}
    known = {
        "--json": 1,
        "--watch": 1,
        "--system": 4,  # as the argument, of a running system, of a spool, and for an image
    }
    if option == "--csv":
        assert all(re.match(r"Print (the [a-z]+|a table) as CSV", text or "") for text in helps), helps
    else:
        assert len(helps) == known[option], helps


@pytest.mark.parametrize("name", COMMANDS)
def test_exit_statuses_are_said_in_the_same_words(name: str) -> None:
    text = " ".join((COMMANDS[name].help or "").split())
    assert len(re.findall(r"1 refuted\b", text)) == text.count("1 refuted or unproved")


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_help_name_options_that_are_there(name: str) -> None:
    for line in (COMMANDS[name].help or "").splitlines():
        if line.startswith(f"dcss {name} "):
            own = line.partition(" -- ")[0].split("   ")[0]
            for option in re.findall(r"(?<= )--[a-z-]+", own):
                assert option in options_of(name), line

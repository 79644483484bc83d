"""Indented examples of the pages: each command in them is one that the command line takes, all else has a reason."""

import re

import click
import pytest
from page_example_support import INDENTED, ROOT, Block, commands_of

from dcss.cli.main import cli

NO_COMMAND = {
    "a drawing, or its legend": [
        "docs/architecture.md: scheduler   which thread runs, what the others wait for, time slices, timers",
        "docs/images.md: # mapped by huge pages  = large file  - small file  M metadata  . free",
        "docs/measurement.md: without_sharing_bytes   segment pages in each guest's user mappings, summed over the"
        " guests",
    ],
    "a message, which tests of what says it compare": [
        "docs/configuration.md: demo.yaml:5: segments[0].imgae: found an unknown key, wanted one of name, define, at,"
        " type, size, image, save, huge_pages (did you mean image?)",
        "docs/kernel-faults.md: INFO: task sh:95 blocked for more than 5 seconds.",
        "docs/kernel-faults.md: task:sh              state:D",
        "docs/kernel-faults.md: BUG: Bad page map in process busybox  pte:…",
        *["docs/kernel-faults.md: Unable to handle kernel pointer dereference in virtual kernel address space"] * 2,
        "docs/kernel-faults.md: sysfs: cannot create duplicate filename '/devices/dcssblk/LIB'",
        "docs/kernel-tests.md: # A segment that is there cannot be added again",
    ],
    "forms of a protocol, which tests of its two ends have": [
        'docs/control-protocol.md: {"dcss": 1, "request": "ps", "arguments": {}}',
        'docs/control-protocol.md: {"output": "stdout"|"stderr", "data": "base64"}',
        'docs/control-protocol.md: {"input": "base64"}         standard input; null is its end',
    ],
    "keys of a configuration, each of which tests of dcss.config have": [
        "docs/configuration.md: image:",
        "docs/configuration.md: mounts:",
        "docs/linux.md: system: lpar",
        "docs/linux.md: guests:",
        "docs/shell.md: run:",
    ],
    "words of a guest's shell, which tests of the shell and of the driver run": [
        "docs/shell.md: mount -o ro,xip /dev/dcssblk1 /mnt            # ext2, from a disk",
        "docs/updating.md: umount /mnt",
        "docs/updating.md: echo 0 > /sys/devices/dcssblk/LIB/shared      # a private copy; before anything is mounted",
    ],
    "builds a kernel for minutes, or stops one": [
        "docs/kernel-faults.md: make kernel-faults",
        "docs/kernel-faults.md: while :; do true </dev/dcssblk0; done 2>/dev/null &",
        "docs/kernel-faults.md: while :; do read -r -n 1 byte </dev/dcssblk0; done 2>/dev/null &",
        "docs/kernel-faults.md: echo LIB >/sys/devices/dcssblk/add",
        "docs/kernel-faults.md: unsigned long here, there;",
    ],
    "starts Dask on three hosts, which tests/integration/test_fleet_namespaces.py does": [
        "docs/fleet.md: dask scheduler --protocol tls                                        on the first host",
    ],
    "compiles the example above it: tests/integration/test_statistics_area.py does": [
        "docs/statistics-area.md: gcc -o guests guests.c -lrt && ./guests /dcss.demo.stats",
    ],
}


def names_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.search(r"(^|[\s$(])dcss [a-z]", line)]


WITH_COMMANDS = [each for each in INDENTED if names_of(each.text)]


@pytest.mark.parametrize("block", WITH_COMMANDS, ids=lambda block: block.key)
def test_each_command_is_one_that_is_there(block: Block) -> None:
    found = commands_of(block.text)
    assert found
    for words in found:
        parsed(cli, "dcss", words, None)


def parsed(command: click.Command, name: str, words: list[str], parent: click.Context | None) -> None:
    """Parse words as the command line does, and run nothing."""
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, click.Group):
        below, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        assert below is not None
        parsed(found, below, rest, context)


def test_each_question_of_the_readme_is_answered_by_a_command_that_is_there() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Questions\n")[2].partition("\n## ")[0]
    answers = re.findall(r"`(dcss [^`]*)`", section)
    assert len(answers) >= 7
    for answer in answers:
        (words,) = commands_of(answer)
        parsed(cli, "dcss", words, None)


def test_what_has_no_command_has_a_reason() -> None:
    known = [key for keys in NO_COMMAND.values() for key in keys]
    assert sorted(known) == sorted(each.key for each in INDENTED if each not in WITH_COMMANDS)


def test_what_is_not_there_is_found() -> None:
    for words in (["no-such"], ["ps", "--no-such"], ["inspect", "x"]):
        with pytest.raises(click.UsageError):
            parsed(cli, "dcss", words, None)
    assert commands_of("$ dcss run a.yaml --json > r.json && dcss ps   all") == [["run", "a.yaml", "--json"], ["ps"]]
    assert commands_of('eval "$(dcss completion bash)"') == [["completion", "bash"]]

"""Debian's s390x programs print, leave and make in a guest what they do under qemu-s390x, in the same tree.

DCSS_S390X_TREE names the tree. Run as a program with the tree as its argument, this file records what qemu-s390x
says, for machines that lack it.
"""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from cp_support import BlockingCp
from needs_support import missing
from oracle390_support import Outcome, read_commands, tree_guest, under_qemu, version_of_qemu

COMMANDS = Path(__file__).with_name("debian_commands.txt")
RECORDED = Path(__file__).with_name("debian_commands.json")
_SHELL_WORDS = {";", "&", "|", "(", "{", "do", "then", "else", "&&", "||", "!", "if", "while"}


def programs_in(commands: list[str], tree: Path) -> set[str]:
    """Return the programs of the tree that stand where a shell expects a command."""
    found = set()
    for command in commands:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        begins = True
        try:
            for word in lexer:
                if begins and (tree / "usr/bin" / Path(word).name).is_file():
                    found.add(Path(word).name)
                begins = word in _SHELL_WORDS or set(word) <= set("();|&<>") or word == "xargs"
        except ValueError:  # quotes of the shell that shlex does not know
            continue
    return found


def record(tree: Path) -> None:
    """Write what qemu-s390x says of every command line."""
    outcomes = {command: under_qemu(tree, command) for command in read_commands(COMMANDS)}
    command = "unshare --map-root-user … chroot TREE env -i … bash -c COMMAND"
    document = {"tool": "qemu-s390x", "version": version_of_qemu(), "command": command, "outcomes": outcomes}
    RECORDED.write_text(json.dumps(document, indent=0, ensure_ascii=False) + "\n", "utf-8")


def expected(tree: Path, commands: list[str]) -> dict[str, Outcome]:
    """Return what qemu-s390x says here, or said where it was recorded."""
    if missing("qemu-s390x-static") is None:
        return {command: under_qemu(tree, command) for command in commands}
    recorded = json.loads(RECORDED.read_text("utf-8"))["outcomes"]
    return {command: Outcome(*recorded[command]) for command in commands}


@pytest.mark.slow
def test_they_do_what_they_do_under_qemu(
    control_program: BlockingCp, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "DCSS_S390X_TREE" not in os.environ:
        pytest.skip("needs a tree of Debian's s390x packages, named by DCSS_S390X_TREE")
    tree = Path(os.environ["DCSS_S390X_TREE"])
    commands = read_commands(COMMANDS)
    wanted = expected(tree, commands)
    with tree_guest(control_program, tree, tmp_path / "image") as guest:
        found = {command: guest.run(command) for command in commands}
        calls = guest.calls
    programs = programs_in(commands, tree)
    with capsys.disabled():
        print(f"\n{len(commands)} command lines, {len(programs)} programs, {len(calls)} system calls")
    differences = {each: (found[each], wanted[each]) for each in commands if found[each] != wanted[each]}
    assert differences == {}
    assert len(commands) >= 150
    assert len(programs) >= 60
    assert len(calls) >= 90


if __name__ == "__main__":
    record(Path(sys.argv[1]))

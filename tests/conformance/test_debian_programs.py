"""Debian's s390x programs print, leave and make in a guest what they do under qemu-s390x, in the same tree.

Run as a program, with tests/support in PYTHONPATH, this file records what qemu-s390x says: for machines where it
cannot run.
"""

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from cp_support import BlockingCp
from image_support import build
from needs_support import needs
from oracle390_support import Outcome, qemu_fails_because, read_commands, tree_guest, under_qemu, version_of_qemu

from dcss.config.sources import DebianSource


class CommandSet(NamedTuple):
    """Command lines, the packages that they need, and how many programs and system calls they use at least."""

    name: str
    packages: tuple[str, ...]
    programs: int
    calls: int

    @property
    def commands(self) -> list[str]:
        """The command lines."""
        return read_commands(Path(__file__).with_name(f"{self.name}.txt"))

    @property
    def recorded(self) -> Path:
        """What qemu-s390x said of them where it could run."""
        return Path(__file__).with_name(f"{self.name}.json")

    @property
    def source(self) -> DebianSource:
        """What makes an image of the packages."""
        return DebianSource(self.packages)


FIRST = CommandSet(
    "debian_commands",
    (
        *("bash", "coreutils", "busybox", "sed", "grep", "gawk", "mawk", "tar", "gzip", "sqlite3", "perl-base"),
        *("python3-minimal", "findutils", "diffutils", "dash", "bc", "dc", "patch", "bsdextrautils", "bsdutils"),
        *("util-linux", "xz-utils", "bzip2", "libc-bin", "debianutils"),
    ),
    programs=60,
    calls=90,
)
MORE = CommandSet(
    "debian_more_commands",
    (
        *("bash", "coreutils", "findutils", "diffutils", "sed", "grep", "mawk", "gawk", "make", "m4", "ed", "cpio"),
        *("zstd", "xz-utils", "file", "less", "vim-tiny", "zsh", "mksh", "tcl", "lua5.4", "jq", "git", "openssl"),
        *("rsync", "zip", "unzip", "dash", "procps", "util-linux", "util-linux-extra", "bsdutils", "python3"),
    ),
    programs=50,
    calls=100,
)
LARGE = CommandSet(
    "debian_large_commands",
    (
        *("bash", "coreutils", "findutils", "diffutils", "sed", "grep", "gawk", "procps", "python3", "python3-venv"),
        *("perl", "libjson-perl", "ruby", "nodejs", "php-cli", "guile-3.0", "ocaml-interp", "swi-prolog-nox", "gcc"),
        *("libc6-dev", "flex", "bison", "redis-server", "redis-tools", "socat", "dbus", "curl", "gnupg", "openssl"),
        *("openssh-client", "logrotate", "subversion", "pigz", "lz4", "lzop", "gettext", "groff-base", "man-db"),
        *("dos2unix", "moreutils", "parallel", "xxd", "pcregrep", "ncal", "dateutils", "libxml2-utils", "xsltproc"),
        *("tidy", "lynx", "w3m", "sharutils", "datamash", "sqlite3", "psmisc", "util-linux", "bsdutils"),
        *("expect", "screen", "tmux", "libc-bin"),  # tmux wants a locale of UTF-8
    ),
    programs=60,
    calls=100,
)
# Command lines that differ, and why: docs/programs.md tells users of the same.
KNOWN: Mapping[str, str] = {}


def unpack(image: Path, tree: Path) -> None:
    """Write the files of an image into a directory."""
    tree.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {tree}", str(image)], check=True, capture_output=True)


def ask_qemu(tree: Path, commands: list[str]) -> dict[str, Outcome]:
    """Return what qemu-s390x says of each command line; two run at a time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(commands, pool.map(lambda command: under_qemu(tree, command), commands), strict=True))


def record(chosen: CommandSet) -> None:
    """Write what qemu-s390x says of every command line of a set."""
    with TemporaryDirectory() as directory:
        image, tree = Path(directory, "image"), Path(directory, "tree")
        build(chosen.source, image)
        unpack(image, tree)
        assert (reason := qemu_fails_because(tree)) is None, reason
        outcomes = ask_qemu(tree, chosen.commands)
    command = "unshare --map-root-user … chroot TREE env -i … bash -c COMMAND"
    document = {"tool": "qemu-s390x", "version": version_of_qemu(), "command": command, "outcomes": outcomes}
    chosen.recorded.write_text(json.dumps(document, indent=0, ensure_ascii=False) + "\n", "utf-8")


def expected(tree: Path, chosen: CommandSet) -> tuple[str, dict[str, Outcome]]:
    """Return what qemu-s390x says here, or said where it was recorded, and which of the two."""
    commands = chosen.commands
    if (reason := qemu_fails_because(tree)) is None:
        return version_of_qemu(), ask_qemu(tree, commands)
    document = json.loads(chosen.recorded.read_text("utf-8"))
    recorded = document["outcomes"]
    return f"{document['version']}, recorded, since {reason}", {each: Outcome(*recorded[each]) for each in commands}


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs("debian_archive", "debugfs")
@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(FIRST, id=FIRST.name),
        *(pytest.param(each, id=each.name, marks=pytest.mark.minutes) for each in (MORE, LARGE)),
    ],
)
def test_they_do_what_they_do_under_qemu(
    control_program: BlockingCp, chosen: CommandSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, tree = tmp_path / "image", tmp_path / "tree"
    build(chosen.source, image)
    unpack(image, tree)
    commands = chosen.commands
    with ThreadPoolExecutor(1) as pool, tree_guest(control_program, image) as guest:
        answer = pool.submit(expected, tree, chosen)
        found = {command: guest.run(command) for command in commands}
        calls, programs = guest.calls, guest.programs
        oracle, wanted = answer.result()
    with capsys.disabled():
        print(f"\n{len(commands)} command lines, {len(programs)} programs, {len(calls)} system calls, as {oracle}")
    differences = {each: (found[each], wanted[each]) for each in commands if found[each] != wanted[each]}
    known = KNOWN.keys() & set(commands)
    assert {each: pair for each, pair in differences.items() if each not in known} == {}
    assert differences.keys() == known, "what is equal now is no longer known to differ"
    assert len(programs) >= chosen.programs
    assert len(calls) >= chosen.calls


def test_there_are_as_many_command_lines_as_are_told() -> None:
    assert len(FIRST.commands) >= 150
    sets = [each.commands for each in (FIRST, MORE, LARGE)]
    assert len({command for commands in sets for command in commands}) == sum(map(len, sets))


if __name__ == "__main__":
    for each in FIRST, MORE, LARGE:
        record(each)

"""Run apt-get with directories of its own: it needs no root, and nothing of the machine's packages changes."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from dcss.errors import ImageError
from dcss.host.cancellation import check_cancelled
from dcss.image.sources.debian.apt_sources import AptFiles

_LOOK_SECONDS: Final = 0.2  # between two looks whether the build was cancelled
# Of the machine's set-up, what says how to reach archives is taken; hooks and formats of indexes are not.
_TAKEN: Final = re.compile(
    r"Acquire::(?!IndexTargets|Changelogs|Languages|GzipIndexes|CompressionTypes|cdrom)\S+ \".*\";"
)
_FILES: Final = ("Dir::Etc::trusted/f", "Dir::Etc::trustedparts/d", "Dir::Etc::netrc/f", "Dir::Etc::netrcparts/d")
_SOURCES: Final = ("Dir::Etc::sourcelist/f", "Dir::Etc::sourceparts/d")
_SAYS: Final = re.compile(r"^(?:E|W): (.*)$", re.MULTILINE)
_UNMET: Final = re.compile(r"^ \S+ : (?:Depends|PreDepends|Conflicts|Breaks): .*$", re.MULTILINE)


class AptError(Exception):
    """Raised with what apt-get says where it fails."""


class AptDirectories(NamedTuple):
    """Where one set of sources has its state, and where all have their packages."""

    state: Path
    packages: Path


class MachineSetup(NamedTuple):
    """What is taken from the machine's apt: lines for a configuration, and where its sources are."""

    lines: tuple[str, ...]
    sources: AptFiles


def machine_setup() -> MachineSetup:
    """Return how this machine's apt is set up. Raises ImageError where there is no apt."""
    dumped = _run("apt-config", ["dump", "--no-empty", "--format", '%F "%v";%n'], None).stdout
    values = _config_values((*_FILES, *_SOURCES))
    lines = [line for line in dumped.splitlines() if _TAKEN.fullmatch(line)]
    lines += [f'{name.partition("/")[0]} "{values[name]}";' for name in _FILES]
    return MachineSetup(tuple(lines), AptFiles(*(Path(values[name]) for name in _SOURCES)))


def _config_values(names: Sequence[str]) -> dict[str, str]:
    variables = [word for number, name in enumerate(names) for word in (f"V{number}", name)]
    shell = _run("apt-config", ["shell", *variables], None).stdout
    values = dict(re.findall(r"^V(\d+)='(.*)'$", shell, re.MULTILINE))
    return {name: values.get(str(number), "/dev/null") for number, name in enumerate(names)}


def prepare(directories: AptDirectories, setup: MachineSetup, sources: str, arch: str) -> None:
    """Write the files that apt-get works by, and make its directories."""
    state = directories.state
    for directory in (state / "lists/partial", directories.packages / "partial", state / "none/partial"):
        directory.mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.sources").write_text(sources, "utf-8", "surrogateescape")
    # Either of two packages says that /usr is merged; one of them does so by a script, and needs perl for it.
    (state / "preferences").write_text("Package: usrmerge\nPin: release *\nPin-Priority: -1\n")
    lines = (
        *setup.lines,
        'Dir::Etc::main "/dev/null";',
        'Dir::Etc::parts "/dev/null";',
        f'Dir::Etc::sourcelist "{state}/sources.sources";',
        'Dir::Etc::sourceparts "/dev/null";',
        f'Dir::Etc::preferences "{state}/preferences";',
        'Dir::Etc::preferencesparts "/dev/null";',
        f'Dir::State "{state}";',
        f'Dir::State::status "{state}/status";',
        f'Dir::Cache "{state}";',
        f'Dir::Cache::archives "{directories.packages}";',
        f'APT::Architecture "{arch}";',
        f'APT::Architectures {{ "{arch}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Install-Suggests "false";',
        'APT::Sandbox::User "root";',  # no other user can reach a private directory
        'APT::Update::Error-Mode "any";',
        'Acquire::Languages "none";',
        'Acquire::ForceHash "SHA256";',
    )
    (state / "apt.conf").write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")


def apt_get(directories: AptDirectories, *arguments: str, within: Path | None = None) -> str:
    """Return what apt-get prints. Raises AptError with what it complains of, ImageError where there is no apt.

    It runs in the directory `within`, where `apt-get download` puts packages and looks for them.
    """
    return _printed("apt-get", directories, ("-q", "-y", *arguments), within)


def apt_cache(directories: AptDirectories, *arguments: str) -> str:
    """Return what apt-cache prints of the lists. Raises as `apt_get` does."""
    return _printed("apt-cache", directories, arguments)


def _printed(program: str, directories: AptDirectories, arguments: Sequence[str], within: Path | None = None) -> str:
    run = _run(program, arguments, directories.state / "apt.conf", within)
    if run.returncode == 0:
        return run.stdout
    said = [*_UNMET.findall(run.stdout), *_SAYS.findall(run.stderr)]
    raise AptError("; ".join(" ".join(line.split()) for line in said) or f"it ended with status {run.returncode}")


def _run(
    program: str, arguments: Sequence[str], configuration: Path | None, within: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "LC_ALL": "C"}
    if configuration is not None:
        environment["APT_CONFIG"] = str(configuration)
    command = [program, *arguments]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=nothing, stdout=pipe, stderr=pipe, text=True, errors="replace", env=environment, cwd=within
        )
    except OSError as error:
        raise ImageError(
            f"{program} cannot be run ({error.strerror}): wanted apt, which finds and checks packages (apt install apt,"
            " dnf install apt); or build the tree elsewhere, and give it by directory: or tar:"
        ) from error
    with process:
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=_LOOK_SECONDS)
                    return subprocess.CompletedProcess(command, process.returncode, output, errors)
                except subprocess.TimeoutExpired:
                    check_cancelled()
        except BaseException:
            process.kill()
            raise

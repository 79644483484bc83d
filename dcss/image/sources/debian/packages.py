"""Get packages and all that they depend on from an archive, with apt's checks, into the user's cache."""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from dcss.config.sources import DebianSource
from dcss.errors import DcssError, ImageError
from dcss.host.cancellation import check_cancelled
from dcss.host.paths import cache_directory
from dcss.image.sources.debian.apt_program import AptDirectories, AptError, apt_get, machine_setup, prepare
from dcss.image.sources.debian.apt_sources import sources_text
from dcss.image.sources.debian.package_names import matching, with_related

_FRESH_SECONDS: Final = 24 * 3600  # lists of packages are fetched again after a day
_WAIT_SECONDS: Final = 0.2
_LISTED: Final = re.compile(
    r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<bytes>\d+) SHA256:(?P<digest>[0-9a-f]{64})$", re.MULTILINE
)
_OS_RELEASE: Final = Path("/etc/os-release")


class _Listed(NamedTuple):
    """A package as apt-get lists it: its file, where that is, and what must be in it."""

    path: Path
    size_bytes: int
    sha256: str

    def is_whole(self) -> bool:
        """Return whether the file is there with the content that the archive's signed lists name."""
        try:
            if self.path.stat().st_size != self.size_bytes:
                return False
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


class Packages(NamedTuple):
    """The files of packages in the order of their names, and notes on how they were found."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def fetch_packages(source: DebianSource, only: re.Pattern[str] | None = None) -> Packages:
    """Return the packages of `source` with all that they depend on, downloaded if they are not in the cache.

    With `only`, of what they depend on those whose names match. Raises ImageError where there is no apt, no network, no
    such package, or a signature or digest is wrong.
    """
    with _archive(source) as (directories, what):
        kept = _lists_age_seconds(directories)
        notes = _refresh_lists(directories, what)
        try:
            listed = _obtain(directories, source.packages, only)
        except AptError:
            if kept is None or notes or not 0 <= kept < _FRESH_SECONDS:
                raise
            # An archive drops a package when a newer one replaces it; lists of the same day may still name it.
            _fetch_lists(directories)
            listed = _obtain(directories, source.packages, only)
    return Packages(tuple(sorted((each.path for each in listed), key=lambda path: path.name)), tuple(notes))


def find_packages(source: DebianSource, expression: str) -> list[str]:
    """Return which packages of its suite and architecture have names that match, the newest version first.

    Raises ImageError.
    """
    with _archive(source) as (directories, what):
        _refresh_lists(directories, what)
        return matching(directories, expression)


@contextmanager
def _archive(source: DebianSource) -> Iterator[tuple[AptDirectories, str]]:
    """Have apt's directories for a suite and architecture, and what messages call them; AptError becomes ImageError."""
    own = own_suite()
    suite = source.suite or own
    if suite is None:
        raise ImageError("this machine is not Debian: give suite: with the name of a release, such as bookworm")
    what = f"packages of {suite} for {source.arch}"
    setup = machine_setup()
    sources = sources_text(source, suite, setup.sources, own)
    key = hashlib.sha256(f"{source.arch}\n{sources}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    try:
        top = cache_directory() / "debian"
        top.mkdir(mode=0o700, exist_ok=True)
        directories = AptDirectories(top / key, top / "packages")
        with _locked(top / "lock"):
            prepare(directories, setup, sources, source.arch)
            yield directories, what
    except AptError as error:
        hint = f" (is it in {suite}, and for {source.arch}?)" if "Unable to locate package" in str(error) else ""
        raise ImageError(f"{what}: apt-get says: {error}{hint}") from error
    except OSError as error:
        raise ImageError(f"{what}: the cache cannot be used: {error}") from error
    except ImageError:
        raise
    except DcssError as error:
        raise ImageError(f"{what}: {error}") from error


def own_suite() -> str | None:
    """Return the release of this machine, or None where it is not Debian."""
    try:
        text = _OS_RELEASE.read_text("utf-8")
    except OSError:
        text = ""
    values = dict(line.partition("=")[::2] for line in text.splitlines())
    suite = values.get("VERSION_CODENAME", "").strip("\"'")
    return suite if suite and values.get("ID", "").strip("\"'") == "debian" else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other builds of this user away from the cache until the block ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                check_cancelled()
                time.sleep(_WAIT_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _refresh_lists(directories: AptDirectories, what: str) -> list[str]:
    """Fetch the lists of packages if they are older than a day; older ones serve where that fails."""
    age_seconds = _lists_age_seconds(directories)
    if age_seconds is not None and 0 <= age_seconds < _FRESH_SECONDS:
        return []
    try:
        _fetch_lists(directories)
    except AptError as error:
        if age_seconds is None:
            raise AptError(f"{error}; the lists of packages are fetched once a day, which needs the network") from error
        days = max(1, round(age_seconds / 86400))
        return [f"{what}: lists of {days} days ago were used, since new ones cannot be fetched: {error}"]
    return []


def _lists_age_seconds(directories: AptDirectories) -> float | None:
    stamp = directories.state / "fetched"
    return time.time() - stamp.stat().st_mtime if stamp.exists() else None


def _fetch_lists(directories: AptDirectories) -> None:
    apt_get(directories, "update")
    (directories.state / "fetched").touch()


def _obtain(directories: AptDirectories, packages: Sequence[str], only: re.Pattern[str] | None) -> list[_Listed]:
    """Return what the packages are, once all of it is there."""
    listed = _resolve(directories, packages, only)
    missing = [each for each in listed if not each.is_whole()]
    if missing:
        for each in missing:
            if each.path.parent == directories.packages:
                each.path.unlink(missing_ok=True)  # apt-get looks at the size alone
        apt_get(directories, "--download-only", *_command(directories, packages, only), within=directories.packages)
    for each in missing:
        if not each.is_whole():
            raise AptError(f"{each.path}: found another content than the archive's list names; fetch it again")
    return listed


def _command(directories: AptDirectories, packages: Sequence[str], only: re.Pattern[str] | None) -> list[str]:
    """Return apt-get's words for the packages: all that a machine needs that has nothing, or those that match."""
    if only is None:
        return ["install", *packages]
    return ["download", *with_related(directories, packages, only)]


def _resolve(directories: AptDirectories, packages: Sequence[str], only: re.Pattern[str] | None) -> list[_Listed]:
    """Return where each package is that is wanted."""
    listed = []
    for found in _LISTED.finditer(_printed(directories, packages, only)):
        local = re.match(r"(?:file|copy):(?://)?(/.*)", found["uri"])
        path = Path(unquote(local[1])) if local else directories.packages / found["file"]
        listed.append(_Listed(path, int(found["bytes"]), found["digest"]))
    if not listed:
        raise AptError("nothing is to be installed")
    return listed


def _printed(directories: AptDirectories, packages: Sequence[str], only: re.Pattern[str] | None) -> str:
    """Return what apt-get lists for the packages; it takes seconds, and is kept for as long as the lists are."""
    age = f"{(directories.state / 'fetched').stat().st_mtime_ns}\n"
    asked = " ".join((*packages, *((only.pattern,) if only is not None else ())))
    kept = directories.state / f"install-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    text = kept.read_text() if kept.exists() else ""
    if text.startswith(age):
        return text.removeprefix(age)
    empty = directories.state / "none"  # what is there already, apt-get does not list
    words = ("--print-uris", "-o", f"Dir::Cache::archives={empty}/", *_command(directories, packages, only))
    printed = apt_get(directories, *words, within=empty)
    kept.write_text(age + printed)
    return printed

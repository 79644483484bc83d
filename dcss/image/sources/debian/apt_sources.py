"""Choose the package sources for one suite: those of the machine's apt, or a mirror that is given.

Formats: sources.list(5), the one of lines and the one of paragraphs (deb822).
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dcss.config.sources import DebianSource
from dcss.errors import ImageError

_LINE: Final = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>(?:\s+\S+)*)"
)
_FIELDS_OF_OPTIONS: Final = {"arch": "architectures", "lang": "languages", "target": "targets"}
_UPDATES: Final = ("", "-updates", "-security", "/updates")  # what Debian appends to a suite's name
_DEBIAN_KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

Entry = dict[str, str]  # the fields of a paragraph, by their names in lower case


class AptFiles(NamedTuple):
    """Where apt's own sources are."""

    main: Path
    parts: Path


def sources_text(source: DebianSource, suite: str, files: AptFiles, own_suite: str | None = None) -> str:
    """Return the paragraphs for the suite and architecture wanted. Raises ImageError where there are none.

    For a suite that the machine has no source for, the archives that it has its own suite from are asked.
    """
    if source.mirror is not None:
        entries = [_mirror_entry(source, source.mirror, suite)]
    else:
        entries = list(_for_suite(_entries(files), suite))
        if not entries and own_suite is not None:
            own = _for_suite(_entries(files), own_suite)
            entries = [{**entry, "suites": suite} for entry in own if own_suite in entry["suites"].split()]
    if not entries:
        raise ImageError(
            f"found no source for {suite} in {files.main} and {files.parts}, wanted one: give mirror: with the address"
            " of an archive, and keyring: with the keys that it is signed by"
        )
    paragraphs = []
    for entry in entries:
        fields = {**entry, "types": "deb", "architectures": source.arch}
        if source.keyring is not None:
            fields["signed-by"] = str(source.keyring)
        paragraphs.append("".join(f"{name}: {value}\n" for name, value in sorted(fields.items())))
    return "\n".join(paragraphs)


def _mirror_entry(source: DebianSource, mirror: str, suite: str) -> Entry:
    entry = {"uris": mirror, "suites": suite, "components": "main"}
    if source.keyring is None and _DEBIAN_KEYS.exists():
        entry["signed-by"] = str(_DEBIAN_KEYS)
    return entry


def _for_suite(entries: Iterable[Entry], suite: str) -> Iterator[Entry]:
    wanted = {suite + ending for ending in _UPDATES}
    for entry in entries:
        suites = [each for each in entry.get("suites", "").split() if each.rstrip("/") in wanted]
        if suites and "main" in entry.get("components", "").split():
            yield {**entry, "suites": " ".join(suites)}


def _entries(files: AptFiles) -> Iterator[Entry]:
    parts = sorted(files.parts.iterdir()) if files.parts.is_dir() else []
    for path in (files.main, *(part for part in parts if part.suffix in {".list", ".sources"})):
        try:
            text = path.read_text("utf-8", "surrogateescape")
        except OSError:
            continue  # as apt does for a part that this user may not read
        yield from _paragraphs(text) if path.suffix == ".sources" else _lines(text)


def _lines(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        found = _LINE.fullmatch(line.partition("#")[0].strip())
        if found is None:
            continue
        entry = {"uris": found["uri"], "suites": found["suite"], "components": found["components"].strip()}
        for option in (found["options"] or "").split():
            name, _, value = option.partition("=")
            entry[_FIELDS_OF_OPTIONS.get(name.lower(), name.lower())] = value.replace(",", " ")
        yield entry


def _paragraphs(text: str) -> Iterator[Entry]:
    entry: Entry = {}
    name = ""
    for line in (*text.splitlines(), ""):
        if line.startswith("#"):
            continue
        if not line.strip():
            if "deb" in entry.get("types", "").split() and entry.pop("enabled", "yes").lower() not in {"no", "false"}:
                yield entry
            entry = {}
        elif line[0] in " \t":
            entry[name] = f"{entry.get(name, '')}\n{line}"  # a key within the file is several lines
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            entry[name] = value.strip()

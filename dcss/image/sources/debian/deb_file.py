"""Read a .deb file: an ar archive of two tars. Sources: deb(5); ar(5) for the headers."""

import os
from pathlib import Path
from typing import Final

from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import TreeFile
from dcss.image.sources.archive import Span, unpacked
from dcss.image.sources.contents import content_of
from dcss.image.sources.host import HostFile, host_error
from dcss.image.sources.tar_scan import TarMember, TarScan, scan

_MAGIC: Final = b"!<arch>\n"
_HEADER_BYTES: Final = 60
_HEADER_END: Final = b"`\n"


class DebFile:
    """One package: `name`, the files in it, and the packages whose files it may take over."""

    def __init__(self, path: Path) -> None:
        """Read the headers. Raises ImageError where the file cannot be read or is no package."""
        raw = os.fsencode(path)
        try:
            found = path.stat()
        except OSError as error:
            raise host_error(raw, "cannot be read", error) from error
        self.name = path.name.partition("_")[0]
        self._file = HostFile(raw, found.st_size, found.st_mtime_ns)
        self._parts = _parts(self._file)

    def members(self) -> TarScan:
        """Return what the package puts into the system. Raises ImageError for damage."""
        return scan(unpacked(self._part("data.tar")))

    def replaces(self) -> frozenset[str]:
        """Return the names of packages whose files it may take over. Raises ImageError for damage."""
        for member in scan(unpacked(self._part("control.tar"))).members:
            if member.path.removeprefix(b"./") == b"control":
                return _replaces(member)
        return frozenset()

    def _part(self, name: str) -> Span:
        for found, part in self._parts.items():
            if found.startswith(name):
                return part
        raise ImageError(f"{os.fsdecode(self._file.path)}: found {', '.join(self._parts)}, wanted {name}: no package")


def _replaces(member: TarMember) -> frozenset[str]:
    if not isinstance(member.node, TreeFile):
        return frozenset()
    text = content_of(member.node).decode("utf-8", "replace").replace("\n ", " ")
    listed = next((line[9:] for line in text.splitlines() if line.lower().startswith("replaces:")), "")
    return frozenset(name.split("(")[0].split(":")[0].strip() for name in listed.split(",") if name.strip())


def _parts(file: HostFile) -> dict[str, Span]:
    label = os.fsdecode(file.path)
    parts: dict[str, Span] = {}
    descriptor = file.open()
    try:
        if os.pread(descriptor, len(_MAGIC), 0) != _MAGIC:
            raise ImageError(f"{label}: found no ar archive, wanted a package (.deb)")
        offset = len(_MAGIC)
        while offset < file.size_bytes:
            header = os.pread(descriptor, _HEADER_BYTES, offset)
            offset += _HEADER_BYTES
            size = header[48:58].strip()
            if header[58:] != _HEADER_END or not size.isdigit() or offset + int(size) > file.size_bytes:
                raise ImageError(f"{label}: bad header at byte {offset - _HEADER_BYTES}: the package is damaged")
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            parts[name] = Span(file, offset, int(size), f"{label}: {name}")
            offset += int(size) + int(size) % 2
    finally:
        os.close(descriptor)
    return parts

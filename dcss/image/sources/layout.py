"""A container image as a directory: an OCI image layout, or what `docker save` wrote, unpacked."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from dcss.errors import ImageError
from dcss.host.files import WrongKindError, read_regular
from dcss.image.sources.archive import Archive, Span
from dcss.image.sources.docker_archive import manifests_of
from dcss.image.sources.host import HostFile, host_error
from dcss.image.sources.marks import MANIFEST, OCI_LAYOUT

_VERSION_BYTES: Final = 256
_DOCUMENT_BYTES: Final = 4 << 20  # manifests of images are shorter


def is_image(path: Path) -> bool:
    """Return True if a directory is a container image. Raises ImageError for one with a damaged manifest.json."""
    if (path / OCI_LAYOUT).is_file():
        return True
    return (path / MANIFEST).is_file() and manifests_of(LayoutDirectory(path, str(path))) is not None


def is_dir_transport(path: Path) -> bool:
    """Return True if a directory is an image as ``skopeo copy … dir:DIRECTORY`` writes it."""
    try:
        version = read_regular(path / "version", _VERSION_BYTES)
    except (OSError, WrongKindError, ValueError):
        return False
    return version.startswith(b"Directory Transport Version:") and (path / MANIFEST).is_file()


class LayoutDirectory:
    """The parts of an image, as container.ImageParts has them."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self.name = name
        self.documents = _Documents(path)

    def names(self) -> Iterator[str]:
        """Return the names of all files."""
        return (str(path.relative_to(self._path)) for path in self._path.rglob("*"))

    def has(self, name: str) -> bool:
        """Return True if there is a file called `name`."""
        path = self._path / name
        return _inside(name) and path.is_file() and path.resolve().is_relative_to(self._path.resolve())

    def part(self, name: str) -> Archive:
        """Return the file called `name`. Raises ImageError where there is none."""
        if not self.has(name):
            raise ImageError(f"{self.name}: found no layer {name}, which its manifest names; copy the image again")
        path = os.fsencode(self._path / name)
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path holds no bytes
        except OSError as error:
            raise host_error(path, "cannot be read", error) from error
        return Span(HostFile(path, found.st_size, found.st_mtime_ns), 0, found.st_size, f"{self.name}: {name}")


class _Documents(Mapping[str, bytes]):
    """Short files of the layout, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> bytes:
        if not _inside(name):
            raise KeyError(name)
        try:
            return read_regular(self._path / name, _DOCUMENT_BYTES)
        except (OSError, WrongKindError, ValueError) as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self._path.iterdir())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _inside(name: str) -> bool:
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts

"""Sources of an image's content, as the YAML and the command line name them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class FilesSource:
    """`files:` patterns of absolute host paths, in the order given; docs/configuration.md has the rules for links."""

    patterns: tuple[str, ...]
    min_files: int = 0  # fewer matched regular files is an error
    min_bytes: int = 0
    max_bytes: int | None = None  # matches past this many bytes are left out; earlier patterns go first, then paths
    exclude: tuple[str, ...] = ()  # patterns of what is left out, with all below it
    with_libraries: bool = False  # the shared libraries that the files need are added


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """`directory:` whose content becomes the image's root."""

    path: Path


class Choice(NamedTuple):
    """Which of several container images is wanted; None does not matter."""

    platform: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class TarSource:
    """`tar:`, also compressed, also from `docker save` or an OCI layout, which may be a directory.

    `platform` (OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT) and `tag` choose one of several images; `label` is what
    messages call it, its path if None.
    """

    path: Path
    platform: str | None = None
    tag: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class DebianSource:
    """`debian:`: packages, with all that they depend on; docs/images.md says what becomes of them.

    Without `mirror`, the machine's own sources for `suite` are used, and without `suite`, those for the machine's own.
    """

    packages: tuple[str, ...]
    suite: str | None = None
    arch: str = "s390x"
    mirror: str | None = None
    keyring: Path | None = None
    busybox_links: bool = True


@dataclass(frozen=True, slots=True)
class Ext2Source:
    """`ext2:` a finished image, used unchanged, or the file system that begins at byte `offset` of the file."""

    path: Path
    offset: int = 0


class KernelFile(NamedTuple):
    """`kernel:` an image, or the directory of a kernel's build."""

    path: Path


class DebianKernel(NamedTuple):
    """`kernel: {debian: …}`: a kernel package; None is the architecture's usual one, of the machine's own suite."""

    suite: str | None = None
    package: str | None = None


KernelSource = KernelFile | DebianKernel
DEBIANS_OWN_KERNEL = DebianKernel()
TreeSource = FilesSource | DirectorySource | TarSource | DebianSource
ImageSource = TreeSource | Ext2Source

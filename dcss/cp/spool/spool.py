"""Saved segments on disk: $XDG_STATE_HOME/dcss/SYSTEM, one manifest a system data file, beside it the content.

``0003.manifest`` appears only after ``0003.content`` is whole and on disk. The rename of the manifest is the instant in
which a file begins to exist, or a skeleton becomes a saved segment. What a crash left half done is removed at the next
start; what is damaged is moved to ``damaged/`` and reported.
"""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path

from dcss.cp.lock import lock_directory
from dcss.cp.segments.content import Fill, file_digest, file_fill, write_content
from dcss.cp.segments.objects import DamagedError
from dcss.cp.segments.segment import FileClass
from dcss.cp.spool.manifest import MAX_MANIFEST_BYTES, Manifest
from dcss.errors import PublishError, SpoolError, SystemBusyError
from dcss.host.files import (
    NEW_SUFFIX,
    FaultPoint,
    WrongKindError,
    check_replaceable,
    no_fault,
    open_regular,
    read_regular,
    remove_durably,
    set_aside,
    write_all,
    write_durably,
)
from dcss.host.paths import check_system_name, state_directory, state_root

_CONTENT = "{:04d}.content"
_FILE = re.compile(r"([0-9]{4})\.(manifest|content)", re.ASCII)


def content_path(system: str, spid: int) -> Path:
    """Return where the spool of a system keeps the content of a file."""
    return state_root() / check_system_name(system) / _CONTENT.format(spid)


class Spool:
    """The spool of one system, locked until `close`. It is made by the first write; reading finds it or nothing.

    Its methods block; those that write may be called from any thread. Raises SystemBusyError if another CP holds it.
    """

    def __init__(self, system: str, *, fault: FaultPoint = no_fault) -> None:
        self.system = check_system_name(system)
        self._fault = fault
        self._directory: Path | None = None
        self._lock = -1
        directory = state_root() / system
        try:
            if directory.is_dir():
                self._open()
        except OSError as error:
            raise SpoolError(
                f"the spool of system {system}, {directory}: found {error.strerror}, wanted a directory that user"
                f" {os.geteuid()} may enter: mend that, or set XDG_STATE_HOME"
            ) from error

    def _open(self) -> Path:
        if self._directory is None:
            directory = state_directory() / self.system
            try:
                self._lock = lock_directory(directory)
            except BlockingIOError:
                raise SystemBusyError(f"system {self.system}: another CP has its spool {directory} open") from None
            self._directory = directory
        return self._directory

    def recover(self, on_finding: Callable[[str], None]) -> list[Manifest]:
        """Remove what a crash left, set aside what is damaged, and return what is left, by file number.

        `on_finding` gets a line for each damaged file. Contents are checked for their size only; their digest is
        checked when they are brought into storage.
        """
        if self._directory is None:
            return []
        manifests: list[Manifest] = []
        for path in sorted(self._directory.iterdir()):
            if path.name.endswith(NEW_SUFFIX):
                self._remove_leftover(path, on_finding)
            elif _FILE.fullmatch(path.name) and path.suffix == ".manifest":
                try:
                    manifests.append(self._read(path))
                except (ValueError, KeyError, TypeError, OSError) as error:
                    on_finding(self.set_aside(int(path.stem), str(error)))
        newest: dict[tuple[str, bool], Manifest] = {}
        for manifest in sorted(manifests, key=lambda found: found.serial):
            older = newest.get(key := (manifest.definition.name, manifest.file_class is FileClass.SKELETON))
            if older is not None:
                self.remove(older.spid)
            newest[key] = manifest
        kept = sorted(newest.values(), key=lambda found: found.spid)
        self._remove_orphans({manifest.spid for manifest in kept if manifest.digest is not None}, on_finding)
        return kept

    def _read(self, path: Path) -> Manifest:
        spid = int(path.stem)
        manifest = Manifest.unpack(read_regular(path, MAX_MANIFEST_BYTES, follow=False))
        if manifest.spid != spid:
            raise ValueError(f"found file number {manifest.spid:04d}")
        if manifest.digest is not None:
            descriptor = open_regular(self._content(spid), follow=False)
            try:
                size_bytes = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if size_bytes != manifest.definition.size_bytes:
                raise ValueError(f"found {size_bytes} bytes, wanted {manifest.definition.size_bytes}")
        return manifest

    def _remove_orphans(self, with_content: set[int], on_finding: Callable[[str], None]) -> None:
        for path in self._open().glob("*.content"):
            if _FILE.fullmatch(path.name) and int(path.stem) not in with_content:
                self._remove_leftover(path, on_finding)

    def _remove_leftover(self, path: Path, on_finding: Callable[[str], None]) -> None:
        """Remove a file that a crash left; set aside what no CP can have made, such as a directory."""
        try:
            check_replaceable(path)
            path.unlink(missing_ok=True)
        except WrongKindError as error:
            on_finding(f"{error}; {self._move_aside([path])}")

    def write(self, manifest: Manifest) -> None:
        """Write a skeleton's manifest. Raises SpoolError; the spool is as it was then."""
        try:
            self._write_manifest(manifest)
        except OSError as error:
            raise self._error(manifest, len(manifest.pack()), error) from error

    def _open_for(self, manifest: Manifest) -> None:
        try:
            self._open()
        except (SpoolError, SystemBusyError):
            raise
        except OSError as error:
            raise self._error(manifest, manifest.definition.size_bytes, error) from error

    def write_content(
        self, manifest: Manifest, fill: Fill, *, wanted_digest: str | None = None, drop: bool = False
    ) -> str:
        """Write the content of a file that is to be saved, and return its digest; `drop` as `content.write_content`.

        The content counts only once `commit` has written its manifest. Raises SpoolError, also if the digest is not the
        one that is wanted.
        """
        definition = manifest.definition
        digests: list[str] = []

        def write(descriptor: int) -> None:
            os.posix_fallocate(descriptor, 0, definition.size_bytes)  # a full disk shows here, not as a short write
            write_content(definition, fill, descriptor, saved_only=True, drop=drop)
            size_bytes = os.fstat(descriptor).st_size
            if size_bytes != definition.size_bytes:
                raise SpoolError(
                    f"segment {definition.name}: its content has {size_bytes} bytes, wanted at most"
                    f" {definition.size_bytes}"
                )
            digests.append(file_digest(descriptor))
            if wanted_digest not in {None, digests[0]}:
                raise SpoolError(
                    f"segment {definition.name}: found content of digest {digests[0]}, wanted {wanted_digest}, as its"
                    " manifest says; export it anew"
                )

        self._open_for(manifest)
        try:
            write_durably(self._content(manifest.spid), write, self._fault)
        except (SpoolError, PublishError):
            raise
        except OSError as error:
            raise self._error(manifest, definition.size_bytes, error) from error
        return digests[0]

    def discard_content(self, spid: int) -> None:
        """Remove a content that was written and not committed. Nothing happens if there is none."""
        if self._directory is not None:
            self._content(spid).unlink(missing_ok=True)

    def commit(self, manifest: Manifest) -> None:
        """Make a content that was written count. If that fails, the content is removed. Raises SpoolError."""
        try:
            self._write_manifest(manifest)
        except BaseException as error:
            if not self._is_committed(manifest):  # it is, if only what came after the rename failed
                self._content(manifest.spid).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._error(manifest, len(manifest.pack()), error) from error
            raise

    def _is_committed(self, manifest: Manifest) -> bool:
        try:
            return self._manifest(manifest.spid).read_bytes() == manifest.pack()
        except OSError:
            return False

    def _write_manifest(self, manifest: Manifest) -> None:
        self._open()
        write_durably(
            self._manifest(manifest.spid), lambda descriptor: write_all(descriptor, manifest.pack()), self._fault
        )

    def fill(self, manifest: Manifest) -> Fill:
        """Return what writes the content of a saved file to a descriptor; it raises DamagedError if that cannot be."""
        copy = file_fill(self._content(manifest.spid), manifest.definition.size_bytes, follow=False)

        def fill(write_fd: int) -> None:
            try:
                copy(write_fd)
            except (WrongKindError, PublishError) as error:
                raise DamagedError(str(error)) from error

        return fill

    def remove(self, spid: int) -> None:
        """Remove a file, if it exists: first the manifest, so that a crash leaves a content that does not count."""
        if self._directory is None:
            return
        try:
            remove_durably(self._manifest(spid), self._fault)
            remove_durably(self._content(spid), self._fault)
        except OSError as error:
            raise SpoolError(f"spool file {spid:04d} of system {self.system} could not be removed: {error}") from error

    def set_aside(self, spid: int, reason: str) -> str:
        """Move a damaged file out of the way, the content first, then its manifest; return a line about it."""
        paths = [path for path in (self._content(spid), self._manifest(spid)) if os.path.lexists(path)]
        return f"spool file {spid:04d} is damaged: {reason}; {self._move_aside(paths)}"

    def _move_aside(self, paths: Sequence[Path]) -> str:
        """Move `paths` to `damaged/`, and return where they are, or why they are not."""
        directory = self._open() / "damaged"
        try:
            return "set aside as " + " and ".join(str(set_aside(path, directory)) for path in paths)
        except OSError as error:  # not served all the same; the next start finds it again
            return f"it could not be set aside: {error}"

    def close(self) -> None:
        """Give up the lock. May be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            self._directory = None

    def _manifest(self, spid: int) -> Path:
        return self._open() / f"{spid:04d}.manifest"

    def _content(self, spid: int) -> Path:
        return self._open() / _CONTENT.format(spid)

    def _error(self, manifest: Manifest, size_bytes: int, error: OSError) -> SpoolError:
        directory = self._directory or state_root() / self.system
        text = (
            f"segment {manifest.definition.name}: {size_bytes} bytes could not be written to the spool of system"
            f" {self.system}: {error}"
        )
        if error.errno in {ENOSPC, EDQUOT}:
            there = next(each for each in (directory, *directory.parents) if each.is_dir())
            free_bytes = shutil.disk_usage(there).free
            text += f"; found {free_bytes} bytes free in {directory}: make room there, or purge segments"
            text += f" (PURGE NSS; dcss segment purge NAME --system {self.system})"
        elif error.errno in {EACCES, EROFS, EPERM}:
            text += f"; wanted {directory} writable by user {os.geteuid()}: mend that, or set XDG_STATE_HOME"
        return SpoolError(text)

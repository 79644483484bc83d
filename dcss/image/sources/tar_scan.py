"""The members of one tar, read from front to back; their content stays where it is."""

import io
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dcss.errors import ImageError
from dcss.ext2.mkfs.tree import (
    DataRun,
    NodeAttributes,
    TreeDirectory,
    TreeFile,
    TreeNode,
    TreeSpecial,
    TreeSymlink,
)
from dcss.image.sources.archive import Archive
from dcss.image.sources.digests import Digest, HashingReader
from dcss.image.tar.header import TarFormatError
from dcss.image.tar.reader import TarEntry, TarReader

_DOCUMENT_BYTES: Final = 4 << 20  # manifests of images are shorter
_MAJOR_LIMIT: Final = 1 << 12  # new_encode_dev: what an inode of ext2 holds
_MINOR_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member: a node, or a hard link to the member called `link_to`."""

    path: bytes
    node: TreeNode | None
    link_to: bytes = b""


@dataclass(slots=True)
class TarScan:
    """The content of one tar. `documents` holds short members that may be an image's manifests, by name."""

    archive: Archive
    members: list[TarMember] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What messages call the tar."""
        return self.archive.name

    def names(self) -> Iterator[str]:
        """Return the names of all members."""
        return (_plain(each.path) for each in self.members)

    def has(self, name: str) -> bool:
        """Return True if there is a member called `name`."""
        return name in self.names()

    def part(self, name: str) -> Archive:
        """Return the member called `name`, following a link to another, as an archive. Raises ImageError."""
        for _ in range(2):
            member = next((each for each in self.members if _plain(each.path) == name), None)
            if member is None or not isinstance(member.node, TreeSymlink):
                break
            name = posixpath.normpath(posixpath.join(posixpath.dirname(name), os.fsdecode(member.node.target)))
        if member is None or not isinstance(member.node, TreeFile):
            raise ImageError(f"{self.archive.name}: found no layer {name}, which its manifest names; save it again")
        data = member.node.data
        length = member.node.size_bytes
        return self.archive.part(name, self._offset(data), length)

    def _offset(self, data: tuple[DataRun, ...]) -> int:
        start = self.archive.run(0, 0, 0).source_offset
        return data[0].source_offset - start if data else 0


def scan(archive: Archive, digest: Digest | None = None, *, whole: bool = False) -> TarScan:
    """Read through a tar and return its members; content stays where it is.

    With `whole`, it is known not to be cut short, and may end without padding.

    Raises ImageError, also where the tar has another digest than the one given.
    """
    scanned = TarScan(archive)
    if digest is not None and archive.seekable:
        digest.check_archive(archive)
        digest = None
    with archive.open() as opened:
        # What cannot seek is read from front to back: its digest costs no reading more.
        hashing = None if digest is None else HashingReader(opened, digest)
        stream = opened if hashing is None else hashing.buffered()
        reader = TarReader(stream, seekable=archive.seekable, whole=whole)
        try:
            for entry in reader:
                scanned.members.append(_member(entry, scanned))
                name = _plain(entry.path)
                if entry.file_type == stat.S_IFREG and entry.size_bytes <= _DOCUMENT_BYTES and _may_be_document(name):
                    document = reader.content(entry) if len(entry.runs) == 1 else b""
                    if document.startswith((b"{", b"[")):
                        scanned.documents[name] = document
        except TarFormatError as error:
            raise ImageError(f"{archive.name} is no tar, or is damaged: {error}") from error
        if not reader.offset:
            raise ImageError(f"{archive.name} is no tar: it is empty")
        rest_bytes = _rest(stream)
        if hashing is not None:
            hashing.check(archive.name)
        if rest_bytes and not scanned.members:
            raise ImageError(
                f"{archive.name} is no tar: found zeros and then up to {rest_bytes} bytes of something else, wanted its"
                " members; an ext2 image begins so"
            )
        if rest_bytes:
            scanned.notes.append(
                f"{archive.name}: up to {rest_bytes} bytes after the end of the tar were left out; if they are another "
                "archive, unpack both (tar -i)"
            )
    return scanned


def _rest(stream: io.BufferedReader) -> int:
    """Read to the end, so that a checksum there is looked at, and return how far what is not zero reaches."""
    at = end = 0
    while chunk := stream.read(1 << 20):
        if content := chunk.rstrip(b"\0"):
            end = at + len(content)
        at += len(chunk)
    return end


def _member(entry: TarEntry, scanned: TarScan) -> TarMember:
    path = entry.path
    where = f"{scanned.archive.name}: {os.fsdecode(path)}"
    scanned.notes.extend(f"{os.fsdecode(path)}: {note}" for note in entry.notes)
    if entry.file_type is None:
        return TarMember(path, None, entry.link)
    if not (0 <= entry.uid < 1 << 32 and 0 <= entry.gid < 1 << 32):
        raise ImageError(f"{where}: owner {entry.uid}:{entry.gid}, wanted numbers of 32 bits")
    attributes = NodeAttributes(entry.mode | entry.file_type, entry.uid, entry.gid, entry.mtime_s, entry.xattrs)
    match entry.file_type:
        case stat.S_IFREG:
            data = tuple(scanned.archive.run(*run) for run in entry.runs)
            return TarMember(path, TreeFile(attributes, entry.size_bytes, data, scanned.archive.store()))
        case stat.S_IFDIR:
            return TarMember(path, TreeDirectory(attributes))
        case stat.S_IFLNK:
            if not entry.link:
                raise ImageError(f"{where}: found a symbolic link without a target, wanted one: no system can make it")
            return TarMember(path, TreeSymlink(attributes, entry.link))
    return TarMember(path, TreeSpecial(attributes, _device(entry, where)))


def _device(entry: TarEntry, where: str) -> int:
    if entry.file_type not in (stat.S_IFCHR, stat.S_IFBLK):
        return 0
    major, minor = entry.device
    if not (0 <= major < _MAJOR_LIMIT and 0 <= minor < _MINOR_LIMIT):
        raise ImageError(
            f"{where}: device {major}:{minor}, ext2 holds major numbers 0 to {_MAJOR_LIMIT - 1} and minor numbers 0 to "
            f"{_MINOR_LIMIT - 1}"
        )
    return os.makedev(major, minor)


def _plain(path: bytes) -> str:
    return os.fsdecode(path).removeprefix("./")


def _may_be_document(name: str) -> bool:
    return name == "oci-layout" or name.startswith("blobs/") or (name.endswith(".json") and "/" not in name)

"""The members of one tar, read from front to back; their content stays where it is."""

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

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

_XATTR_HEADERS: Final = "SCHILY.xattr."
_ACL_HEADERS: Final = "SCHILY.acl."
_DOCUMENT_BYTES: Final = 1 << 20  # manifests of images are shorter
_KINDS: Final = {
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


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

    def inner(self, name: str) -> Archive:
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
        return self.archive.inner(name, self._offset(data), length)

    def _offset(self, data: tuple[DataRun, ...]) -> int:
        start = self.archive.run(0, 0, 0).source_offset
        return data[0].source_offset - start if data else 0


class _StrictInfo(tarfile.TarInfo):
    """Raises an error for a damaged header; tarfile takes one in the middle for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if type(error).__name__ in ("EOFHeaderError", "EmptyHeaderError"):
                raise
            raise tarfile.ReadError(str(error)) from error


def scan(archive: Archive) -> TarScan:
    """Read through a tar and return its members; content stays where it is. Raises ImageError."""
    scanned = TarScan(archive)
    try:
        with archive.open() as reader, _open_tar(reader, seekable=archive.seekable) as tar:
            for info in tar:
                member = _member(info, scanned)
                if member is None:
                    continue
                scanned.members.append(member)
                name = _plain(member.path)
                if info.isreg() and info.size <= _DOCUMENT_BYTES and _may_be_document(name):
                    content = tar.extractfile(info)
                    document = content.read() if content is not None else b""
                    if document.startswith((b"{", b"[")):
                        scanned.documents[name] = document
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"{archive.name} is no tar, or is damaged: {error}") from error
    return scanned


def _open_tar(reader: io.BufferedReader, *, seekable: bool) -> tarfile.TarFile:
    mode = "r:" if seekable else "r|"
    return tarfile.open(  # type: ignore[call-overload, no-any-return]
        fileobj=reader, mode=mode, encoding="utf-8", errors="surrogateescape", tarinfo=_StrictInfo
    )


def _member(info: tarfile.TarInfo, scanned: TarScan) -> TarMember | None:
    path = info.name.encode("utf-8", "surrogateescape")
    link = info.linkname.encode("utf-8", "surrogateescape")
    if info.islnk():
        return TarMember(path, None, link)
    kind = stat.S_IFREG if info.isreg() else _KINDS.get(info.type)
    if kind is None:
        scanned.notes.append(f"{os.fsdecode(path)}: a member of type {info.type!r} was left out")
        return None
    if not (0 <= info.uid < 1 << 32 and 0 <= info.gid < 1 << 32):
        raise ImageError(f"{os.fsdecode(path)}: owner {info.uid}:{info.gid}, wanted numbers of 32 bits")
    attributes = NodeAttributes(
        info.mode & 0o7777 | kind, info.uid, info.gid, int(info.mtime // 1), tuple(_xattrs(info, path, scanned.notes))
    )
    if kind == stat.S_IFREG:
        data = tuple(_data(info, scanned.archive))
        return TarMember(path, TreeFile(attributes, info.size, data, scanned.archive.store()))
    if kind == stat.S_IFDIR:
        return TarMember(path, TreeDirectory(attributes))
    if kind == stat.S_IFLNK:
        return TarMember(path, TreeSymlink(attributes, link))
    has_number = kind in (stat.S_IFCHR, stat.S_IFBLK)
    return TarMember(path, TreeSpecial(attributes, os.makedev(info.devmajor, info.devminor) if has_number else 0))


def _data(info: tarfile.TarInfo, archive: Archive) -> Iterator[DataRun]:
    """Yield where the member's content lies: one run, or those that a sparse member kept."""
    sparse = getattr(info, "sparse", None)
    if sparse is None:
        if info.size:
            yield archive.run(0, info.offset_data, info.size)
        return
    at = info.offset_data
    for file_offset, length in sparse:
        if length:
            yield archive.run(file_offset, at, length)
        at += length


def _xattrs(info: tarfile.TarInfo, path: bytes, notes: list[str]) -> Iterator[tuple[bytes, bytes]]:
    for key, value in sorted(info.pax_headers.items()):
        if key.startswith(_XATTR_HEADERS):
            name = key[len(_XATTR_HEADERS) :]
            yield name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
        elif key.startswith(_ACL_HEADERS):
            notes.append(f"{os.fsdecode(path)}: its {key} was left out: an ACL as text")


def _plain(path: bytes) -> str:
    return os.fsdecode(path).removeprefix("./")


def _may_be_document(name: str) -> bool:
    return name in ("manifest.json", "index.json", "oci-layout") or name.startswith("blobs/")

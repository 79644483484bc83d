"""The members of a tar, from front to back. Where programs disagree, GNU tar's reading is taken.

Sources: POSIX.1-2017, pax; GNU tar's manual, "Basic Tar Format", and its list.c and extract.c.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Final, NamedTuple

from dcss.image.tar import pax
from dcss.image.tar.header import BLOCK_BYTES, Header, TarFormatError, parse_header
from dcss.image.tar.sparse import SparseMap, old_gnu_map, pax_map

_EXTENSIONS: Final = frozenset({b"g", b"x", b"X", b"L", b"K"})  # X: pax as Solaris wrote it
_MAX_EXTENSION_BYTES: Final = 16 << 20  # of an extended header or long name, which is held in memory
_SKIP_BYTES: Final = 1 << 20
_ZERO_BLOCK: Final = bytes(BLOCK_BYTES)
_FILE_TYPES: Final = {
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
    b"D": stat.S_IFDIR,  # of an incremental archive: its data lists what the directory had
}
_REGULAR: Final = frozenset({b"\0", b"0", b"7", b"S"})
_WITHOUT_DATA: Final = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})  # whatever their size says


class StoredRun(NamedTuple):
    """Bytes of a file, which lie at `archive_offset` of the tar."""

    file_offset: int
    archive_offset: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class TarEntry:
    """A member as its headers describe it. `file_type` is S_IFREG and the like, or None for a hard link to `link`."""

    path: bytes
    file_type: int | None
    link: bytes
    mode: int
    uid: int
    gid: int
    mtime_s: int
    size_bytes: int
    runs: tuple[StoredRun, ...]
    device: tuple[int, int]
    xattrs: tuple[tuple[bytes, bytes], ...]
    notes: tuple[str, ...]  # what of it could not be kept


class _Extension:
    """What the headers before a member's own say of it."""

    def __init__(self) -> None:
        self.found = False
        self.changes: list[tuple[bytes, bytes]] = []
        self.name: bytes | None = None
        self.link: bytes | None = None


class TarReader:
    """Iterates over the members once. `offset` counts the bytes of the archive that were read or skipped."""

    def __init__(self, stream: BufferedReader, *, seekable: bool, whole: bool = False) -> None:
        """With `whole`, the archive is known not to be cut short: it may end where its last data does.

        umoci insert writes such layers, and Go's archive/tar, which container tools use, reads them.
        """
        self.offset = 0
        self._stream = stream
        self._seekable = seekable
        self._whole = whole
        self._globals: pax.Records = {}
        self._data_end = 0  # of the member's data
        self._end = 0  # the same with padding

    def __iter__(self) -> Iterator[TarEntry]:
        """Yield each member; until the next its data can be had by `content`. Raises TarFormatError, for damage too."""
        extension = _Extension()
        while (header := self._next_header()) is not None:
            where = self.offset - BLOCK_BYTES
            try:
                if self._extend(extension, header):
                    continue
                entry = self._entry(header, extension)
            except TarFormatError as error:
                raise TarFormatError(f"header at byte {where}: {error}") from error
            if entry is not None:
                yield entry
            extension = _Extension()
        if extension.found:
            raise TarFormatError(f"ends at byte {self.offset} after an extended header, without the member it is of")

    def content(self, entry: TarEntry) -> bytes:
        """Return the data of the last entry, which the caller knows to be short and without holes."""
        return self._read(entry.size_bytes)

    def _next_header(self) -> Header | None:
        self._skip(self._data_end - self.offset)
        padding = self._stream.read(self._end - self.offset)
        self.offset += len(padding)
        if self.offset < self._end:
            if self._whole and not padding:
                return None
            raise _cut_short(self.offset)
        block = self._stream.read(BLOCK_BYTES)
        self.offset = self._data_end = self._end = self._end + len(block)
        if not block or block == _ZERO_BLOCK:
            return None
        if len(block) < BLOCK_BYTES:
            raise _cut_short(self.offset)
        try:
            return parse_header(block)
        except TarFormatError as error:
            raise TarFormatError(f"header at byte {self.offset - BLOCK_BYTES}: {error}") from error

    def _extend(self, extension: _Extension, header: Header) -> bool:
        """Take up a header that describes the next one, and return True; or return False for a member's own."""
        if header.type not in _EXTENSIONS:
            return False
        content = self._extension_content(header)
        match header.type:
            case b"g":
                self._globals = pax.apply(self._globals, pax.parse_records(content))
                return True
            case b"L":
                extension.name = content.partition(b"\0")[0]
            case b"K":
                extension.link = content.partition(b"\0")[0]
            case _:
                extension.changes = pax.parse_records(content)
        extension.found = True
        return True

    def _extension_content(self, header: Header) -> bytes:
        if not 0 <= header.size_bytes <= _MAX_EXTENSION_BYTES:
            raise TarFormatError(
                f"extended header: found {header.size_bytes} bytes, wanted at most {_MAX_EXTENSION_BYTES}"
            )
        self._add_data(header.size_bytes)
        return self._read(header.size_bytes)

    def _entry(self, header: Header, extension: _Extension) -> TarEntry | None:
        """Return a member and note where it ends; None for the label of a volume."""
        records = pax.apply(self._globals, extension.changes)
        path = _first(pax.text(records, b"GNU.sparse.name"), pax.text(records, b"path"), extension.name, header.path)
        file_type, note = _type_of(header, path)
        stored_bytes = pax.number(records, b"size", header.size_bytes)
        if header.type in _WITHOUT_DATA or (file_type == stat.S_IFDIR and header.type != b"D"):
            stored_bytes = 0
        if stored_bytes < 0:
            raise TarFormatError(f"{os.fsdecode(path)}: size: found {stored_bytes}, wanted 0 or more")
        self._add_data(stored_bytes)
        if header.type == b"V":
            return None
        if header.type == b"M" or b"GNU.volume.filename" in records:
            raise TarFormatError(
                f"{os.fsdecode(path)} is continued from another volume: extract all volumes with tar -M"
            )
        size_bytes, runs = self._data(header, records, extension, path, stored_bytes)
        return TarEntry(
            path=path,
            file_type=file_type,
            link=_first(pax.text(records, b"linkpath"), extension.link, header.link),
            mode=header.mode & 0o7777,
            uid=pax.number(records, b"uid", header.uid),
            gid=pax.number(records, b"gid", header.gid),
            mtime_s=pax.number(records, b"mtime", header.mtime_s),
            size_bytes=size_bytes if file_type == stat.S_IFREG else 0,
            runs=runs if file_type == stat.S_IFREG else (),
            device=header.device() if file_type in (stat.S_IFCHR, stat.S_IFBLK) else (0, 0),
            xattrs=tuple(pax.xattrs(records)),
            notes=(*note, *(f"its {os.fsdecode(key)} was left out" for key in pax.left_out(records))),
        )

    def _data(
        self, header: Header, records: pax.Records, extension: _Extension, path: bytes, stored_bytes: int
    ) -> tuple[int, tuple[StoredRun, ...]]:
        """Return the size of a file, and where its data lies."""
        if header.type == b"S":
            sparse: SparseMap | None = old_gnu_map(header, self._more_header)
        else:
            sparse = pax_map(records, extension.changes, self._data_block)
        if sparse is None:
            return stored_bytes, (StoredRun(0, self.offset, stored_bytes),) if stored_bytes else ()
        runs = []
        at = self.offset
        for offset, length in sparse.pieces:
            runs.append(StoredRun(offset, at, length))
            at += length
        if at > self._end or _padded(at - self.offset) != self._end - self.offset:
            raise TarFormatError(
                f"{os.fsdecode(path)}: found {self._end - self.offset} bytes of sparse data with their padding, "
                f"wanted {at - self.offset} as its map says"
            )
        return sparse.size_bytes, tuple(runs)

    def _add_data(self, length_bytes: int) -> None:
        """Let so many bytes of data follow the headers read so far."""
        self._data_end = self._end + length_bytes
        self._end += _padded(length_bytes)

    def _more_header(self) -> bytes:
        self._data_end += BLOCK_BYTES
        self._end += BLOCK_BYTES
        return self._read(BLOCK_BYTES)

    def _data_block(self) -> bytes:
        if self.offset + BLOCK_BYTES > self._end:
            raise TarFormatError("sparse member: found its data at an end, wanted the rest of its map")
        return self._read(BLOCK_BYTES)

    def _read(self, length: int) -> bytes:
        content = self._stream.read(length)
        self.offset += len(content)
        if len(content) < length:
            raise _cut_short(self.offset)
        return content

    def _skip(self, length: int) -> None:
        if length > 1 and self._seekable:
            self._stream.seek(length - 1, os.SEEK_CUR)  # the last byte is read, to see that it is there
            self.offset += length - 1
            length = 1
        while length:
            length -= len(self._read(min(length, _SKIP_BYTES)))


def _type_of(header: Header, path: bytes) -> tuple[int | None, tuple[str, ...]]:
    """Return the type of file, None for a hard link, and what is to be said of it."""
    if header.type == b"1":
        return None, ()
    known = _FILE_TYPES.get(header.type)
    if known is not None:
        return known, ()
    if path.endswith(b"/"):  # directories of tars older than POSIX
        return stat.S_IFDIR, ()
    if header.type in _REGULAR or header.type in (b"V", b"M"):
        return stat.S_IFREG, ()
    return stat.S_IFREG, (f"a member of the unknown type {os.fsdecode(header.type)!r} was taken for a regular file",)


def _first(*found: bytes | None) -> bytes:
    return next(each for each in found if each is not None)


def _padded(length: int) -> int:
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES


def _cut_short(at: int) -> TarFormatError:
    return TarFormatError(f"found its end at byte {at}, wanted more data: it is cut short")

"""Read what execve(2) needs of an ELF file for s390x; the layout is that of the System V ABI, big-endian."""

import struct
from collections.abc import Sequence
from errno import ENOEXEC
from typing import NamedTuple

from dcss.errors import KernelError
from vmguest.fs.mount import Mount
from vmguest.fs.open import FileDescription

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
HEAD_BYTES = 64
_EM_S390 = 22
_IDENT = b"\x7fELF\x02\x02\x01"  # 64 bits, big-endian, version 1
_HEADER = struct.Struct(">16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct(">IIQQQQQQ")
_SECTION = struct.Struct(">IIQQQQIIQQ")
_SHF_EXECINSTR = 4
_MOST_HEADERS = 512
_MOST_KNOWN = 1000
_ALL = (range(1 << 63),)


class ProgramHeader(NamedTuple):
    """One entry of the program header table; sizes and offsets in bytes."""

    type: int
    flags: int
    offset: int
    address: int
    physical_address: int
    file_bytes: int
    memory_bytes: int
    alignment: int


class ElfHeader(NamedTuple):
    """The header of a program, a library or an interpreter."""

    type: int
    entry: int
    headers_offset: int
    headers: int
    sections_offset: int
    sections: int

    @property
    def headers_bytes(self) -> int:
        """The size of the program header table."""
        return self.headers * _PROGRAM_HEADER.size


def parse_header(head: bytes) -> ElfHeader:
    """Read the header at a file's beginning. Raises KernelError(ENOEXEC) where it is none of an s390x program."""
    if len(head) < HEAD_BYTES or not head.startswith(_IDENT):
        raise KernelError(ENOEXEC, "not an ELF file of s390x")
    fields = _HEADER.unpack_from(head)
    _, kind, machine, _, entry, headers_offset, sections_offset, _, _, entry_bytes, headers = fields[:11]
    section_bytes, sections = fields[11:13]
    if machine != _EM_S390 or kind not in {ET_EXEC, ET_DYN}:
        raise KernelError(ENOEXEC, f"ELF file of type {kind} for machine {machine}, wanted a program for {_EM_S390}")
    if entry_bytes != _PROGRAM_HEADER.size or not 0 < headers <= _MOST_HEADERS:
        raise KernelError(ENOEXEC, f"{headers} program headers of {entry_bytes} bytes")
    return ElfHeader(
        kind, entry, headers_offset, headers, sections_offset, sections if section_bytes == _SECTION.size else 0
    )


def parse_program_headers(table: bytes) -> list[ProgramHeader]:
    """Read the program header table."""
    whole = len(table) - len(table) % _PROGRAM_HEADER.size
    return [ProgramHeader._make(fields) for fields in _PROGRAM_HEADER.iter_unpack(table[:whole])]


def code_ranges(file: object) -> Sequence[range]:
    """Return where in an open file its instructions lie, by its section headers: anywhere, where it has none."""
    if not isinstance(file, FileDescription):
        return _ALL
    inode = file.dentry.inode
    return _ranges_of(_Identity(file.dentry.mount, inode.number, inode.size_bytes, inode.mtime), file)


class _Identity(NamedTuple):
    """What tells files, and versions of a file, apart."""

    mount: Mount
    inode: int
    size_bytes: int
    mtime: int


_known: dict[_Identity, Sequence[range]] = {}


def _ranges_of(identity: _Identity, file: FileDescription) -> Sequence[range]:
    found = _known.get(identity)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[identity] = _read_ranges(file)
    return found


def _read_ranges(file: FileDescription) -> Sequence[range]:
    try:
        header = parse_header(read_at(file, HEAD_BYTES, 0))
        table = read_at(file, header.sections * _SECTION.size, header.sections_offset)
    except KernelError:
        return _ALL
    whole = len(table) - len(table) % _SECTION.size
    found = [
        range(offset, offset + size_bytes)
        for _, _, flags, _, offset, size_bytes, _, _, _, _ in _SECTION.iter_unpack(table[:whole])
        if flags & _SHF_EXECINSTR
    ]
    return found or _ALL


def read_at(file: FileDescription, size_bytes: int, position: int) -> bytes:
    """Return bytes of a file, fewer at its end."""
    buffer = bytearray(size_bytes)
    return bytes(buffer[: file.pread(memoryview(buffer), position)])

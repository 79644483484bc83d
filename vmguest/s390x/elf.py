"""Read what execve(2) needs of an ELF file for s390x; the layout is that of the System V ABI, big-endian."""

import struct
from errno import ENOEXEC
from typing import NamedTuple

from dcss.errors import KernelError

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
HEAD_BYTES = 64
_EM_S390 = 22
_IDENT = b"\x7fELF\x02\x02\x01"  # 64 bits, big-endian, version 1
_HEADER = struct.Struct(">16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct(">IIQQQQQQ")
_MOST_HEADERS = 512


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
    """The header of a program or of its interpreter."""

    type: int
    entry: int
    headers_offset: int
    headers: int

    @property
    def headers_bytes(self) -> int:
        """The size of the program header table."""
        return self.headers * _PROGRAM_HEADER.size


def parse_header(head: bytes) -> ElfHeader:
    """Read the header at a file's beginning. Raises KernelError(ENOEXEC) where it is none of an s390x program."""
    if len(head) < HEAD_BYTES or not head.startswith(_IDENT):
        raise KernelError(ENOEXEC, "not an ELF file of s390x")
    _, kind, machine, _, entry, headers_offset, _, _, _, entry_bytes, headers, _, _, _ = _HEADER.unpack_from(head)
    if machine != _EM_S390 or kind not in {ET_EXEC, ET_DYN}:
        raise KernelError(ENOEXEC, f"ELF file of type {kind} for machine {machine}, wanted a program for {_EM_S390}")
    if entry_bytes != _PROGRAM_HEADER.size or not 0 < headers <= _MOST_HEADERS:
        raise KernelError(ENOEXEC, f"{headers} program headers of {entry_bytes} bytes")
    return ElfHeader(kind, entry, headers_offset, headers)


def parse_program_headers(table: bytes) -> list[ProgramHeader]:
    """Read the program header table."""
    whole = len(table) - len(table) % _PROGRAM_HEADER.size
    return [ProgramHeader._make(fields) for fields in _PROGRAM_HEADER.iter_unpack(table[:whole])]
